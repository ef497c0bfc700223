// The public page of a share link: asks for the one shipment it shows, and draws it.
// Everything that came from outside is put in as text, never as markup.

const TOKEN = location.pathname.split("/").pop();
const EVERY_MS = 15_000;
const HEADLINES = {
  planned: "Being prepared",
  picked_up: "Picked up",
  in_transit: "On its way",
  arriving: "Arriving soon",
  at_stop: "At a stop",
  delivered: "Delivered",
  cancelled: "Cancelled",
};
const KINDS = { pickup: "Pickup", delivery: "Delivery", via: "Via" };

const byId = (id) => document.getElementById(id);
let shown = null;
let timer = 0;

// In the zone of whoever waits there; theirs is this browser's where the plan does not say.
function clock(iso, stop) {
  const timeZone = stop.time_zone ?? shown.stops[shown.for_stop].time_zone ?? undefined;
  const options = { weekday: "short", hour: "2-digit", minute: "2-digit", timeZone };
  return new Intl.DateTimeFormat(undefined, options).format(new Date(iso));
}

function ago(seconds) {
  if (seconds < 90) return "just now";
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}

function times(stop) {
  const at = (iso) => clock(iso, stop);
  if (stop.arrived_at) {
    const left = stop.departed_at ? `, left ${at(stop.departed_at)}` : "";
    return `Arrived ${at(stop.arrived_at)}${left}`;
  }
  if (stop.departed_at) return `Left ${at(stop.departed_at)}`;
  if (stop.done) return "Done";
  if (stop.planned_from && stop.planned_until) {
    return `Planned ${at(stop.planned_from)} to ${at(stop.planned_until)}`;
  }
  if (stop.planned_until) return `Planned until ${at(stop.planned_until)}`;
  return stop.planned_from ? `Planned from ${at(stop.planned_from)}` : "";
}

function line(tag, text, className) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// Other people's stops have no names here.
function nameOf(stop) {
  return stop.name ?? KINDS[stop.kind];
}

function stopItem(stop, index) {
  const item = document.createElement("li");
  if (stop.done) item.classList.add("done");
  if (index === shown.at_stop) item.classList.add("here");
  item.append(line("strong", nameOf(stop)));
  if (stop.name) item.append(line("span", KINDS[stop.kind], "when"));
  if (stop.address) item.append(line("div", stop.address));
  item.append(line("div", times(stop), "when"));
  if (stop.delayed && !stop.done) item.append(line("div", "Later than planned", "late"));
  return item;
}

function show(shipment) {
  shown = shipment;
  const next = shipment.stops[shipment.at_stop ?? shipment.next_stop];
  document.title = `${HEADLINES[shipment.status]} - ${shipment.shipment}`;
  byId("reference").textContent = shipment.order_ref
    ? `Order ${shipment.order_ref}, shipment ${shipment.shipment}`
    : `Shipment ${shipment.shipment}`;
  byId("headline").textContent = HEADLINES[shipment.status];
  const since = `Since ${clock(shipment.since, shipment.stops[shipment.for_stop])}`;
  const towards = shipment.status === "at_stop" ? "" : `Next: ${next && nameOf(next)}. `;
  byId("detail").textContent = next ? `${towards || `${nameOf(next)}. `}${since}` : since;
  byId("stops").replaceChildren(...shipment.stops.map(stopItem));
  byId("map").hidden = shipment.place === null;
  draw();
}

function draw() {
  const place = shown?.place;
  if (!place) return;
  const about = place.radius_m ? `Within ${(place.radius_m / 1000).toFixed(1)} km of here, ` : "Here ";
  byId("seen").textContent =
    about + ago(place.age_s) + (place.stale ? "; it may be elsewhere by now" : "");
  const canvas = byId("canvas");
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const spots = shown.stops.filter((stop) => stop.lon !== null);
  const project = projection([...spots, place], place.radius_m, width, height);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  pen.strokeStyle = colour("--line");
  pen.lineWidth = 2;
  pen.setLineDash([4, 6]);
  pen.beginPath();
  for (const stop of spots) pen.lineTo(...project(stop).slice(0, 2));
  pen.stroke();
  pen.setLineDash([]);
  for (const stop of spots) {
    dot(pen, project(stop), 6, stop.done ? colour("--done") : colour("--faint"));
  }
  const [x, y, perMetre] = project(place);
  if (place.radius_m) {
    pen.globalAlpha = 0.2;
    dot(pen, [x, y], place.radius_m * perMetre, colour("--accent"));
    pen.globalAlpha = 1;
  } else {
    dot(pen, [x, y], 9, colour("--accent"));
  }
}

function dot(pen, [x, y], radius, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

// Degrees to pixels, so that all spots fit; the world is flat between two stops.
function projection(spots, radiusM, width, height) {
  const lat0 = spots.reduce((sum, spot) => sum + spot.lat, 0) / spots.length;
  const east = (lon) => {
    // Around the first spot, so that the antimeridian is no wall.
    const turn = ((lon - spots[0].lon + 540) % 360) - 180;
    return turn * 111_320 * Math.cos((lat0 * Math.PI) / 180);
  };
  const north = (lat) => lat * 110_574;
  const xs = spots.map((spot) => east(spot.lon));
  const ys = spots.map((spot) => north(spot.lat));
  const pad = Math.max(radiusM, 300);
  const [west, right] = [Math.min(...xs) - pad, Math.max(...xs) + pad];
  const [south, top] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  const perMetre = 0.9 * Math.min(width / (right - west), height / (top - south));
  return (spot) => [
    width / 2 + (east(spot.lon) - (west + right) / 2) * perMetre,
    height / 2 - (north(spot.lat) - (south + top) / 2) * perMetre,
    perMetre,
  ];
}

function end() {
  shown = null;
  clearTimeout(timer);
  document.title = "Tracking";
  byId("headline").textContent = "This link has ended";
  for (const id of ["reference", "detail", "note"]) byId(id).textContent = "";
  byId("stops").replaceChildren();
  byId("map").hidden = true;
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(`/v1/share/${encodeURIComponent(TOKEN)}`, { cache: "no-store" });
    if (answer.status === 404) return end();
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    byId("note").textContent = "";
  } catch {
    if (!shown) byId("headline").textContent = "Not available just now";
    byId("note").textContent = "This could not be updated; trying again.";
  }
  // A page nobody looks at asks for nothing; it does at once when somebody does again.
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => !document.hidden && refresh());
window.addEventListener("resize", draw);
refresh();
