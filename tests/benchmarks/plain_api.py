"""FastAPI at its least, a process of its own: one route, no parameters, a constant.

python -m tests.benchmarks.plain_api PORT
"""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/constant")
async def constant() -> dict[str, str]:
    """Nothing to look up, nobody to know."""
    return {"device": "truck-000001", "status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
