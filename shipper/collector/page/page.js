// The page of the collector. What records say reaches the document as text only (textContent), never as markup.

const $ = (id) => document.getElementById(id);
const PAGE = 50;
const MOST = 1000;
const EVERY_MS = 2000;
// From grave to slight: the order of the chips, and of the stack from the ground up.
const GRAVE = ["CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "NOTICE", "DEBUG", "TRACE"];
const LOOK = { CRITICAL: "critical", FATAL: "critical", ERROR: "error", WARNING: "warning", WARN: "warning", INFO: "info", DEBUG: "debug", TRACE: "debug" };

const state = { q: "", range: "", from: "", to: "", levels: new Set(), limit: PAGE, live: false };
const rows = new Map(); // id -> { row, detail }, so that what is open stays open when the list is fetched again
let request = new AbortController();
let timer = 0;
let shown = null; // the histogram that is drawn

function make(tag, className = "", text = null, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  node.append(...children);
  return node;
}

function draw(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const look = (level) => LOOK[level] ?? "other";
const rank = (level) => (GRAVE.indexOf(level) + GRAVE.length + 1) % (GRAVE.length + 1);
const nameOf = (level) => level || "no level";
const count = (n) => n.toLocaleString("en-US");
const pad = (n, width = 2) => String(n).padStart(width, "0");
const day = (t) => `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())}`;
const clock = (t) => `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
const moment = (t) => `${day(t)} ${clock(t)}.${pad(t.getMilliseconds(), 3)}`;
const text = (value) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));
const at = (record, ...keys) => keys.reduce((value, key) => value?.[key], record) ?? record?.[keys.join(".")];

// ---- what is asked ---------------------------------------------------------------------------------------------

function readAddress() {
  const asked = new URLSearchParams(location.search);
  state.q = asked.get("q") ?? "";
  state.from = asked.get("from") ?? "";
  state.to = asked.get("to") ?? "";
  state.levels = new Set(asked.getAll("level"));
  const known = [...$("range").options].some((option) => option.value === state.from);
  state.range = known && !state.to ? state.from : "custom";
  $("q").value = state.q;
}

function writeAddress() {
  const asked = new URLSearchParams();
  if (state.q) asked.set("q", state.q);
  if (state.from) asked.set("from", state.from);
  if (state.to) asked.set("to", state.to);
  for (const level of state.levels) asked.append("level", level);
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
}

function parameters(more) {
  const asked = new URLSearchParams({ q: state.q, ...more });
  if (state.from) asked.set("from", state.from);
  if (state.to || state.from.startsWith("now")) asked.set("to", state.to || "now");
  return asked;
}

const unfiltered = () => !state.q && !state.from && !state.to && !state.levels.size;

function change(changes) {
  Object.assign(state, { limit: PAGE }, changes);
  $("q").value = state.q;
  writeAddress();
  return refresh();
}

async function ask(path, asked, signal) {
  const answer = await fetch(`api/${path}?${asked}`, { signal });
  const body = parse(await answer.text());
  if (!answer.ok) throw new Error(body.error ?? `the collector answered ${answer.status}`);
  return body;
}

// A number that a double cannot hold is shown as it was written.
class Exact {
  constructor(source) { this.source = source; }
  toJSON() { return this.source; }
}
function parse(json) {
  return JSON.parse(json, (_, value, context) =>
    typeof value === "number" && context?.source && !Number.isSafeInteger(value) && String(value) !== context.source && Number.isInteger(value)
      ? new Exact(context.source) : value);
}

async function refresh() {
  request.abort();
  clearTimeout(timer);
  request = new AbortController();
  const { signal } = request;
  document.body.classList.add("busy");
  const search = parameters({ limit: state.limit });
  for (const level of state.levels) search.append("level", level);
  try {
    const [found, counted] = await Promise.all([ask("search", search, signal), ask("histogram", parameters({}), signal)]);
    showError("");
    showLevels(counted);
    showHistogram(counted);
    showRecords(found);
  } catch (error) {
    if (signal.aborted) return;
    showError(error instanceof TypeError ? "The collector does not answer: is it still running?" : error.message);
  }
  document.body.classList.remove("busy");
  document.body.dataset.ready = "true";
  if (state.live || !$("empty").hidden) timer = setTimeout(refresh, EVERY_MS);
}

function showError(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
  $("q").setAttribute("aria-invalid", String(message.startsWith("q:")));
  document.body.classList.toggle("stale", Boolean(message));
}

// ---- levels ----------------------------------------------------------------------------------------------------

function showLevels({ buckets }) {
  const totals = new Map([...state.levels].map((level) => [level, 0]));
  for (const { levels } of buckets)
    for (const [level, n] of Object.entries(levels)) totals.set(level, (totals.get(level) ?? 0) + n);
  const focused = document.activeElement?.dataset?.level;
  const chips = [...totals].filter(([level]) => level !== "(other)").sort(([a], [b]) => rank(a) - rank(b)).map(([level, n]) => {
    const chip = make("button", `chip ${look(level)}`, null, make("b", "", nameOf(level)), make("span", "", count(n)));
    chip.type = "button";
    chip.dataset.level = level;
    chip.setAttribute("aria-pressed", String(state.levels.has(level)));
    chip.onclick = () => {
      const levels = new Set(state.levels);
      if (!levels.delete(level)) levels.add(level);
      change({ levels });
    };
    return chip;
  });
  $("levels").replaceChildren(...chips);
  $("levels").classList.toggle("chosen", state.levels.size > 0);
  if (focused !== undefined) chips.find((chip) => chip.dataset.level === focused)?.focus();
}

// ---- the histogram ---------------------------------------------------------------------------------------------

const HEIGHT = 100;

function showHistogram({ interval_ms: interval, buckets }) {
  const visible = buckets.map((bucket) => {
    const levels = Object.entries(bucket.levels).filter(([level]) => !state.levels.size || state.levels.has(level));
    return { time: Date.parse(bucket.time), levels: levels.sort(([a], [b]) => rank(a) - rank(b)), count: levels.reduce((sum, [, n]) => sum + n, 0) };
  });
  shown = { interval, buckets: visible };
  const top = Math.max(1, ...visible.map((bucket) => bucket.count));
  const svg = $("histogram");
  svg.setAttribute("viewBox", `0 0 ${Math.max(1, visible.length)} ${HEIGHT}`);
  svg.replaceChildren(draw("rect", { class: "over", id: "over", y: 0, height: HEIGHT, width: 0 }));
  visible.forEach(({ levels }, index) => {
    let ground = HEIGHT;
    for (const [level, n] of levels) {
      const height = Math.max((n / top) * HEIGHT * 0.96, 1.2); // a single error among thousands must still be seen
      ground -= height;
      svg.append(draw("rect", { class: look(level), x: index + 0.08, y: ground, width: 0.84, height }));
    }
  });
  svg.append(draw("rect", { class: "brush", id: "brush", y: 0, height: HEIGHT, width: 0 }));
  $("zoom-out").hidden = state.range !== "custom";
  $("hint").hidden = !visible.length;
  const from = visible[0]?.time;
  const width = visible.length * interval;
  $("span").textContent = visible.length ? `in ${words(width)}, one bar is ${words(interval)}` : "";
  $("axis").replaceChildren(...(visible.length ? [0, 0.25, 0.5, 0.75, 1] : []).map((part) => make("span", "", tick(new Date(from + width * part), width))));
}

function words(ms) {
  const units = [["day", 86400000], ["hour", 3600000], ["minute", 60000], ["second", 1000], ["millisecond", 1]];
  const [unit, size] = units.find(([, size]) => ms >= size) ?? units.at(-1);
  const n = Math.round((ms / size) * 10) / 10;
  return `${count(n)} ${unit}${n === 1 ? "" : "s"}`;
}

function tick(time, width) {
  if (width > 3 * 86400000) return day(time);
  if (width > 86400000) return `${day(time).slice(5)} ${clock(time).slice(0, 5)}`;
  return width > 10000 ? clock(time) : `${clock(time)}.${pad(time.getMilliseconds(), 3)}`;
}

function bucketUnder(event) {
  const box = $("histogram").getBoundingClientRect();
  const index = Math.floor(((event.clientX - box.left) / box.width) * shown.buckets.length);
  return Math.min(Math.max(index, 0), shown.buckets.length - 1);
}

function pointAt(event) {
  if (!shown?.buckets.length) return;
  const index = bucketUnder(event);
  $("over").setAttribute("x", index);
  $("over").setAttribute("width", 1);
  const { time, levels, count: n } = shown.buckets[index];
  const line = (name, value) => make("div", "", null, make("span", "", name), make("b", "", value));
  $("tip").replaceChildren(make("div", "", moment(new Date(time)).replace(/\.000$/, "")), line("records", count(n)), ...levels.map(([level, n]) => line(nameOf(level), count(n))));
  $("tip").hidden = false;
  const box = $("chart").getBoundingClientRect();
  const x = event.clientX - box.left;
  $("tip").style.left = `${x > box.width / 2 ? x - $("tip").offsetWidth - 14 : x + 14}px`;
}

function leave() {
  $("tip").hidden = true;
  $("over")?.setAttribute("width", 0);
}

function startBrush(event) {
  if (!shown?.buckets.length || event.button) return;
  const svg = $("histogram");
  const start = bucketUnder(event);
  let [first, last] = [start, start];
  svg.setPointerCapture(event.pointerId);
  clearTimeout(timer); // a live list must not move the bars under the pointer
  const paint = () => {
    $("brush").setAttribute("x", first);
    $("brush").setAttribute("width", last - first + 1);
  };
  svg.onpointermove = (move) => {
    pointAt(move);
    const end = bucketUnder(move);
    [first, last] = [Math.min(start, end), Math.max(start, end)];
    paint();
  };
  const done = (zoom) => {
    svg.onpointermove = pointAt;
    svg.onpointerup = svg.onpointercancel = null;
    $("brush").setAttribute("width", 0);
    leave();
    if (!zoom) return;
    const { buckets, interval } = shown;
    change({ range: "custom", from: new Date(buckets[first].time).toISOString(), to: new Date(buckets[last].time + interval).toISOString() });
    showRange();
  };
  svg.onpointerup = () => done(true);
  svg.onpointercancel = () => done(false);
  paint();
}

function showRange() {
  $("custom").hidden = state.range !== "custom";
  $("range").value = state.range;
}

// ---- the records -----------------------------------------------------------------------------------------------

function showRecords({ total, records }) {
  const nothing = total === 0;
  $("empty").hidden = !(nothing && unfiltered());
  $("nothing").hidden = !nothing || unfiltered();
  $("records").hidden = nothing;
  $("chart").hidden = nothing;
  $("total").textContent = `${count(total)} record${total === 1 ? "" : "s"}`;
  $("more").hidden = records.length >= total || records.length < state.limit || state.limit >= MOST;
  const focused = document.activeElement;
  const kept = new Map(records.map((record) => [record._id, rows.get(record._id) ?? { row: makeRow(record), detail: null }]));
  rows.clear();
  for (const [id, entry] of kept) rows.set(id, entry);
  const wanted = [...kept.values()].flatMap(({ row, detail }) => (detail ? [row, detail] : [row]));
  const body = $("records").tBodies[0];
  if (wanted.length !== body.rows.length || wanted.some((row, index) => row !== body.rows[index])) {
    body.replaceChildren(...wanted);
    if (focused && body.contains(focused)) focused.focus({ preventScroll: true });
  }
}

function makeRow(record) {
  const time = new Date(at(record, "@timestamp") ?? NaN);
  const level = text(at(record, "log", "level") ?? record.level ?? record.levelname ?? record.severity).toUpperCase();
  const row = make("tr", look(level));
  const stamp = make("td", "", Number.isNaN(time.getTime()) ? "–" : moment(time));
  stamp.title = text(record["@timestamp"]) || "the record says no time";
  const message = make("td", "message", text(record.message ?? record.msg).slice(0, 400));
  const raised = at(record, "exc", "type");
  if (raised) message.append(make("span", "raised", `${text(raised)}: ${text(at(record, "exc", "message"))}`.slice(0, 200)));
  row.append(
    stamp,
    make("td", "level", level || "–"),
    make("td", "", text(at(record, "service", "name")).slice(0, 100)),
    make("td", "", text(at(record, "log", "logger")).slice(0, 100)),
    message,
  );
  row.dataset.record = record._id;
  row.tabIndex = 0;
  row.setAttribute("aria-expanded", "false");
  row.onclick = () => getSelection().isCollapsed && toggle(record);
  row.onkeydown = (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(record); }
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); step(row, event.key === "ArrowDown" ? 1 : -1); }
  };
  return row;
}

function step(row, by) {
  const all = [...document.querySelectorAll("[data-record]")];
  all[all.indexOf(row) + by]?.focus();
}

function toggle(record, open) {
  const entry = rows.get(record._id);
  if (!entry || open === Boolean(entry.detail)) return;
  if (entry.detail) {
    entry.detail.remove();
    entry.detail = null;
  } else {
    entry.detail = makeDetail(record, entry.row.className);
    entry.row.after(entry.detail);
  }
  entry.row.setAttribute("aria-expanded", String(Boolean(entry.detail)));
}

const FACTS = ["log.level", "service.name", "service.environment", "host.name", "process.pid", "log.logger", "exc.type", "run", "event.sequence", "trace.id"];

function makeDetail(record, className) {
  const cell = make("td");
  cell.colSpan = 5;
  const { _id, ...rest } = record;
  const facts = make("div", "facts");
  for (const name of FACTS) {
    const value = at(record, ...name.split("."));
    if (value == null || typeof value === "object" && !(value instanceof Exact)) continue;
    const fact = make("button", "", null, make("i", "", `${name} `), make("span", "", value instanceof Exact ? value.source : String(value)));
    fact.type = "button";
    fact.title = "Search for this too";
    fact.onclick = () => narrow(name, value);
    facts.append(fact);
  }
  cell.append(facts);
  const message = text(record.message);
  if (message.length > 120 || message.includes("\n")) cell.append(heading("Message"), make("pre", "full", message));
  if (record.exc && typeof record.exc === "object") {
    cell.append(...exception(record.exc));
    rest.exc = { ...record.exc };
    delete rest.exc.traceback;
  }
  if (typeof record.stack === "string") {
    cell.append(heading("Stack"), traceback(record.stack));
    delete rest.stack;
  }
  const json = make("pre", "json full");
  json.append(...coloured(rest, ""));
  cell.append(heading("Record", copyButton("Copy JSON", () => plain(rest, record))), json, idLine(_id));
  const detail = make("tr", `detail ${className}`);
  detail.append(cell);
  return detail;
}

function idLine(id) {
  const line = make("h2", "", "Id ");
  line.append(make("code", "", id));
  return line;
}

function heading(title, button = null) {
  const node = make("h2", "", title);
  if (button) node.append(button);
  return node;
}

function copyButton(title, content) {
  const button = make("button", "", title);
  button.type = "button";
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(content());
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser does not allow it";
    }
  };
  return button;
}

// The whole record again, tracebacks included.
function plain(_, { _id, ...record }) {
  const nodes = coloured(record, "");
  return nodes.map((node) => (typeof node === "string" ? node : node.textContent)).join("");
}

function exception(exc) {
  const parts = [];
  const title = [text(exc.module), text(exc.type)].filter(Boolean).join(".");
  parts.push(heading("Exception", typeof exc.traceback === "string" ? copyButton("Copy traceback", () => exc.traceback) : null));
  parts.push(make("p", "raise", `${title}${exc.message == null ? "" : `: ${text(exc.message)}`}`));
  if (Array.isArray(exc.chain) && exc.chain.length) {
    const chain = make("ol", "chain");
    for (const link of exc.chain) {
      const name = [text(link?.module), text(link?.type)].filter(Boolean).join(".");
      const item = make("li", "", `${name}${link?.message == null ? "" : `: ${text(link.message)}`}`);
      item.dataset.relation = text(link?.relation) || "then";
      chain.append(item);
    }
    parts.push(chain);
  }
  if (typeof exc.traceback === "string") parts.push(traceback(exc.traceback));
  return parts;
}

const LINE_LOOKS = [
  [/^[\s|+]*File ".*", line \d+/, "file"],
  [/^[\s|]*(The above exception was|During handling of the above)/, "link"],
  [/^\S*(?:[\w.]+)(?::|$)/, "raised"],
];

function traceback(content) {
  const pre = make("pre", "traceback");
  for (const line of content.split("\n")) {
    const lead = line.replace(/^[\s|+-]*/, "");
    const found = /^Traceback \(|^Stack \(/.test(lead) ? null : LINE_LOOKS.find(([pattern, name]) => pattern.test(line) && (name !== "raised" || !/^\s/.test(line)));
    pre.append(make("span", found?.[1] ?? "", `${line}\n`));
  }
  return pre;
}

// Pretty JSON as nodes: coloured, and safe whatever the record says.
function coloured(value, indent) {
  if (value instanceof Exact) return [make("span", "number", value.source)];
  if (typeof value === "string") return [make("span", "text", JSON.stringify(value))];
  if (typeof value === "number") return [make("span", "number", String(value))];
  if (value === null || typeof value !== "object") return [make("span", "word", String(value))];
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  if (!entries.length) return [isList ? "[]" : "{}"];
  const inner = `${indent}  `;
  const nodes = [isList ? "[" : "{"];
  entries.forEach(([key, child], index) => {
    nodes.push(`${index ? "," : ""}\n${inner}`);
    if (!isList) nodes.push(make("span", "key", JSON.stringify(key)), ": ");
    for (const node of coloured(child, inner)) nodes.push(node);
  });
  nodes.push(`\n${indent}${isList ? "]" : "}"}`);
  return nodes;
}

function narrow(name, value) {
  const written = String(value instanceof Exact ? value.source : value);
  const quoted = /^[\w.-]+$/.test(written) ? written : `"${written.replace(/["\\]/g, "\\$&")}"`;
  const term = `${name}:${quoted}`;
  if (!state.q.includes(term)) change({ q: state.q ? `${/\bOR\b/.test(state.q) ? `(${state.q})` : state.q} ${term}` : term });
  scrollTo({ top: 0 });
}

// ---- the controls ----------------------------------------------------------------------------------------------

$("search").onsubmit = (event) => { event.preventDefault(); change({ q: $("q").value.trim() }); };
$("q").addEventListener("search", () => { if (!$("q").value && state.q) change({ q: "" }); });
$("range").onchange = () => { change({ range: $("range").value, from: $("range").value, to: "" }); showRange(); };
$("zoom-out").onclick = $("reset").onclick = (event) => {
  change({ range: "", from: "", to: "", ...(event.currentTarget.id === "reset" ? { q: "", levels: new Set() } : {}) });
  showRange();
};
$("more").onclick = () => { state.limit = Math.min(state.limit * 2, MOST); refresh(); };
$("live").onclick = () => {
  state.live = !state.live;
  $("live").setAttribute("aria-pressed", String(state.live));
  refresh();
};
$("histogram").onpointermove = pointAt;
$("histogram").onpointerleave = leave;
$("histogram").onpointerdown = startBrush;
addEventListener("popstate", () => { readAddress(); showRange(); refresh(); });
addEventListener("pointerdown", (event) => { if (!$("help").contains(event.target)) $("help").open = false; });
addEventListener("keydown", (event) => {
  const writing = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("q").focus(); $("q").select(); }
  if (event.key === "ArrowDown" && event.target === $("q")) { event.preventDefault(); document.querySelector("[data-record]")?.focus(); }
  if (event.key === "Escape") $("help").open = false;
  if (event.key === "Escape" && !writing)
    for (const [id, { detail }] of rows) if (detail) toggle({ _id: id }, false);
});

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
document.querySelector("th").textContent = `Time (${zone})`;
$("command").textContent = `shipper run --path 'logs/*.jsonl' --to ${location.origin}`;
$("by-hand").textContent = `curl --data-binary '{"message": "hello", "log": {"level": "INFO"}}' ${location.origin}`;
const sql = "SELECT level, count(*) FROM records GROUP BY level";
const link = make("a", "", `/api/sql?q=${sql}`);
link.href = `api/sql?q=${encodeURIComponent(sql)}`;
$("sql-address").append(link);
readAddress();
showRange();
refresh();
