/** Reading a stream of JSON, one document a line, as it arrives. */

export async function* jsonLines<T>(bytes: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<T> {
  const reader = bytes.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? '')).split('\n');
      rest = done ? '' : (lines.pop() ?? '');
      for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
      if (done) return;
    }
  } finally {
    // Whoever stops reading early ends the server's work too.
    await reader.cancel().catch(() => {});
  }
}
