// Builds dist/ (`npm run build`) or bundles and runs the unit tests (`npm test`).
//
// Every asset but index.html carries a hash of its content in its name, so a server may let
// browsers keep assets/ for ever and must only revalidate index.html.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(root, ...parts);

async function buildPage() {
  const dist = at('dist');
  await rm(dist, { recursive: true, force: true });
  await mkdir(join(dist, 'assets'), { recursive: true });
  const worker = await copyHashed('maplibre-worker', at('node_modules/maplibre-gl/dist/maplibre-gl-worker.mjs'));
  const result = await build({
    entryPoints: { map: at('src/main.ts') },
    outdir: join(dist, 'assets'),
    entryNames: '[name]-[hash]',
    // What is imported on demand becomes a file of its own.
    splitting: true,
    chunkNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    minify: true,
    legalComments: 'linked',
    metafile: true,
    define: { WORKER_URL: JSON.stringify(worker) },
  });
  const outputs = Object.keys(result.metafile.outputs).map((path) => basename(path));
  const page = await readFile(at('index.html'), 'utf8');
  await writeFile(
    join(dist, 'index.html'),
    page
      .replace('src/main.ts', `assets/${outputs.find((name) => /^map-\w+\.js$/.test(name))}`)
      .replace('src/style.css', `assets/${outputs.find((name) => name.endsWith('.css'))}`),
  );
}

// `.js`, not `.mjs`: some servers still send `.mjs` with a type no browser runs.
async function copyHashed(name, source) {
  const body = (await readFile(source, 'utf8')).replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 8);
  await writeFile(at('dist/assets', `${name}-${hash}.js`), body);
  return `assets/${name}-${hash}.js`;
}

async function runTests() {
  const files = (await readdir(at('test'))).filter((name) => name.endsWith('.test.ts'));
  const outdir = at('node_modules/.waymark-tests');
  await rm(outdir, { recursive: true, force: true });
  await build({
    entryPoints: files.map((name) => at('test', name)),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    sourcemap: 'inline',
  });
  const built = files.map((name) => join(outdir, name.replace(/\.ts$/, '.mjs')));
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...built], { stdio: 'inherit' });
  process.exitCode = run.status ?? 1;
}

await (process.argv.includes('--tests') ? runTests() : buildPage());
