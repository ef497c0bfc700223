// The public page of a share link: asks for the one shipment it shows, and draws it.
// Everything that came from outside is put in as text, never as markup.

const TOKEN = location.pathname.split("/").pop();
const EVERY_MS = 15_000;
// A range that ends so soon is none any more.
const ANY_MINUTE_MS = 120_000;
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

// From one time to another, as whoever waits says it; the day only where it is not today.
function between(fromIso, untilIso, stop) {
  const [from, until] = [new Date(fromIso), new Date(untilIso)];
  const timeZone = stop.time_zone ?? shown.stops[shown.for_stop].time_zone ?? undefined;
  const day = new Intl.DateTimeFormat("en-CA", { timeZone });
  const today = [from, until].every((at) => day.format(at) === day.format(new Date()));
  const options = { hour: "2-digit", minute: "2-digit", timeZone };
  if (!today) options.weekday = "short";
  return new Intl.DateTimeFormat(undefined, options).formatRange(from, until);
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
  const expected = stop.estimated_from
    ? `Expected ${between(stop.estimated_from, stop.estimated_until, stop)}. `
    : "";
  return expected + planned(stop, at);
}

function planned(stop, at) {
  if (stop.planned_from && stop.planned_until) {
    return `Planned ${between(stop.planned_from, stop.planned_until, stop)}`;
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

// When to expect it, or why nobody can say: what the page is for.
function expectation(stop) {
  if (stop.arrived_at || stop.done || shown.expected === "over") return null;
  if (shown.expected === "last_seen") {
    const { place } = shown;
    // Heard of again, and the forecast is a moment behind.
    if (place && !place.stale) return { words: "On the move", note: "The time of arrival follows." };
    const words = place ? `Last seen ${ago(place.age_s)}` : "No news just now";
    return { words, note: "The time of arrival is told when there is news." };
  }
  if (!stop.estimated_at) return null;
  const late = stop.at_risk || stop.delayed;
  const note = late ? "Later than planned" : `Most likely around ${between(stop.estimated_at, stop.estimated_at, stop)}`;
  if (new Date(stop.estimated_until) - Date.now() < ANY_MINUTE_MS) {
    return { time: "any minute", words: "Arriving", note: late ? note : "", late };
  }
  return { time: between(stop.estimated_from, stop.estimated_until, stop), words: "Arriving", note, late };
}

function showExpectation() {
  const found = expectation(shown.stops[shown.for_stop]);
  byId("eta").hidden = found === null;
  if (found === null) return;
  byId("eta").className = found.late ? "late" : found.time ? "" : "quiet";
  const time = found.time ? [line("span", found.time, "time")] : [];
  byId("arriving").replaceChildren(line("span", found.words), ...time);
  byId("likely").textContent = found.note;
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
  showExpectation();
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
  byId("map").hidden = byId("eta").hidden = true;
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
