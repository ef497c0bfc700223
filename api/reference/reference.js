// Renders /v1/openapi.json. Text is only ever set as text, so nothing in the document can run.
const make = (tag, members = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};
const json = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));
const api = await (await fetch('/v1/openapi.json')).json();

const resolve = (node) => {
  while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((at, part) => at[part], api);
  return node;
};
const typeOf = (schema) => {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ');
  if (schema.type === 'array') return `${typeOf(schema.items)}[]`;
  return schema.format ?? String(schema.type ?? 'any');
};

const rows = (entries) => make('table', {}, ...entries.map(([name, type, text]) => make('tr', {},
  make('td', {}, make('code', { textContent: name })),
  make('td', { className: 'muted', textContent: type }),
  make('td', { textContent: text }))));

const members = (schema, depth = 0) => {
  const whole = resolve(schema);
  if (whole?.type === 'array') return members(whole.items, depth);
  if (whole?.anyOf) return whole.anyOf.map((one) => members(one, depth)).find((one) => one) ?? null;
  if (!whole?.properties) return null;
  const required = new Set(whole.required ?? []);
  const entries = Object.entries(whole.properties).map(([name, part]) => [
    required.has(name) ? name : `${name}?`, typeOf(part), part.description ?? resolve(part)?.description ?? '']);
  const items = whole.properties.items ?? whole.properties.features;
  return make('div', {}, rows(entries), items && depth === 0 ? members(items, 1) : null);
};

const contents = (holder) => Object.entries(holder.content ?? {}).map(([media, told]) => make('div', {},
  make('p', { className: 'muted' }, make('code', { textContent: media }), ` ${typeOf(told.schema)}`),
  members(told.schema), make('pre', { textContent: json(told.example) })));

const operation = (method, path, one) => {
  const parameters = (one.parameters ?? []).map(resolve).map((p) => [
    p.required ? p.name : `${p.name}?`, `${p.in}, ${typeOf(p.schema)}`, p.description ?? '']);
  const scopes = (one.security ?? []).flatMap((each) => Object.values(each).flat());
  const answers = Object.entries(one.responses).map(([status, told]) => [status, resolve(told)]);
  const refusals = answers.filter(([status]) => status >= '4');
  return make('details', { id: one.operationId },
    make('summary', {}, make('b', { textContent: method.toUpperCase() }), make('code', { textContent: path }),
      make('span', { className: 'muted', textContent: ` ${one.operationId}` })),
    make('p', { textContent: one.description ?? one.summary }),
    scopes.length ? make('p', { className: 'muted', textContent: `Permission: ${scopes.join(', ')}` }) : null,
    parameters.length ? make('h4', { textContent: 'Parameters' }) : null,
    parameters.length ? rows(parameters) : null,
    one.requestBody ? make('h4', { textContent: 'Body' }) : null,
    ...(one.requestBody ? contents(one.requestBody) : []),
    ...answers.filter(([status]) => status < '4').flatMap(([status, told]) => [
      make('h4', { textContent: `${status} ${told.description}` }), ...contents(told)]),
    refusals.length ? make('h4', { textContent: 'Refusals' }) : null,
    refusals.length ? rows(refusals.map(([status, told]) => [status, '', told.description])) : null);
};

const nav = document.querySelector('nav');
const main = document.querySelector('main');
document.querySelector('#about').replaceChildren(
  `Version ${api.info.version}. Machines read `, make('a', { href: '/v1/openapi.json', textContent: 'OpenAPI' }),
  ' and, for MQTT, Redis and the feed, ', make('a', { href: '/v1/asyncapi.json', textContent: 'AsyncAPI' }), '.');
const used = new Map(api.tags.map((tag) => [tag.name, []]));
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, one] of Object.entries(methods)) used.get(one.tags[0])?.push(operation(method, path, one));
}
for (const tag of api.tags) {
  const found = used.get(tag.name);
  if (!found.length) continue;
  const id = `noun-${tag.name.replaceAll(' ', '-')}`;
  nav.append(make('a', { href: `#${id}`, textContent: tag.name }));
  main.append(make('section', { id }, make('h2', { textContent: tag.name }),
    make('p', { textContent: tag.description }), ...found));
}
document.querySelector('#search').addEventListener('input', ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const one of document.querySelectorAll('details')) one.hidden = !one.textContent.toLowerCase().includes(wanted);
});
const opened = () => { const one = document.getElementById(location.hash.slice(1)); if (one) { one.open = true; one.scrollIntoView(); } };
addEventListener('hashchange', opened);
opened();
