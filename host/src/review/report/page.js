"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const T = data.texts;
  const SORTS = ["person", "group", "IAM role", "workload", "Kubernetes name", "role", "other"];
  const KINDS = ["person", "group", "iam-role", "workload", "stand-in", "role", "other"];
  const LEVELS = ["critical", "high", "medium", "low", "info"];
  const CERTAINTY = ["latent", "conditional", "session", "certain", ""];
  const PAGE = 50, PATHS = 5;

  // Elements; texts of strangers are text nodes and nothing else.
  function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "on") for (const [event, run] of Object.entries(value)) element.addEventListener(event, run);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
    return element;
  }
  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  // What would reorder or hide text around it is shown as an escape.
  const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const plain = (text) => String(text).replace(HIDDEN, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
  const number = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  // Lists of grants by principal and by entitlement, as one array each.
  function index(size, keys) {
    const starts = new Uint32Array(size + 1);
    for (const key of keys) starts[key + 1]++;
    for (let i = 0; i < size; i++) starts[i + 1] += starts[i];
    const next = starts.slice(), items = new Uint32Array(keys.length);
    keys.forEach((key, item) => { items[next[key]++] = item; });
    return (key) => items.subarray(starts[key], starts[key + 1]);
  }
  const held = index(data.nodes.length, data.grants.map((grant) => grant[0]));
  const holders = index(data.entitlements.length, data.grants.map((grant) => grant[1]));
  const on = index(data.nodes.length, data.entitlements.map((one) => one[0]));
  const name = (node) => plain(T[data.nodes[node][0]]);
  const what = (entitlement) => plain(T[data.entitlements[entitlement][1]]);
  const realm = (node) => data.nodes[node][4] < 0 ? "AWS" : plain(data.realms[data.nodes[node][4]]);

  // The search of paths.rs: breadth first, a state a limited number of times,
  // and never twice on a path.
  function carries(entitlement) {
    const [node, , always, id] = data.entitlements[entitlement];
    if (always) return true;
    for (const grant of held(node)) {
      const expansion = data.expansions[grant];
      if (expansion && expansion[0].includes(id)) return true;
    }
    return false;
  }
  function inherits(via, grant, who, direct) {
    if (via < 0) return true;
    const expansion = data.expansions[grant];
    if (!expansion) return !!data.entitlements[via][2];
    const [through, shallow, kinds] = expansion;
    return through.includes(data.entitlements[via][3]) && (!shallow || direct) &&
      (!kinds.length || kinds.includes(data.nodes[who][2]));
  }
  function certainty(who, grant) {
    const own = data.grants[grant][2], sessions = data.sessions[grant];
    if (!sessions || T[data.nodes[who][2]] !== "sso_user") return own;
    const logins = data.logins[who] || [];
    if (!logins.length) return 2;
    const same = (text) => text.replaceAll("@", "-").toLowerCase();
    const mine = new Set(logins.map((login) => same(T[login])));
    return sessions.some((session) => T[session] === "" || mine.has(same(T[session]))) ? 3 : -1;
  }
  function access(who, most) {
    const states = [{ parent: -1, step: null, node: who, via: -1, depth: 0, sure: 4, unknown: false }];
    const visits = new Map(), found = new Map();
    const visited = (at, node, via) => {
      for (; at >= 0; at = states[at].parent)
        if (states[at].node === node && (states[at].via === via || states[at].parent < 0)) return true;
      return false;
    };
    const crowded = (at) => {
      for (; at >= 0; at = states[at].parent) if (visits.get(states[at].node + "," + states[at].via) > most) return true;
      return false;
    };
    for (let at = 0; at < states.length; at++) {
      const state = states[at], key = state.node + "," + state.via, seen = (visits.get(key) || 0) + 1;
      visits.set(key, seen);
      if (seen > most) continue;
      for (const grant of held(state.node)) {
        const [, entitlement, , , , unexplained] = data.grants[grant];
        const unknown = state.unknown || !!unexplained;
        if (!inherits(state.via, grant, who, state.depth === 1 && !state.unknown)) continue;
        const own = certainty(who, grant);
        if (own < 0) continue;
        const sure = Math.min(own, state.sure);
        let one = found.get(entitlement);
        if (!one) found.set(entitlement, one = { entitlement, paths: [], more: false });
        if (one.paths.length < most) one.paths.push({ at, grant, sure });
        else one.more = true;
        const node = data.entitlements[entitlement][0];
        if (carries(entitlement) && !visited(at, node, entitlement))
          states.push({ parent: at, step: grant, node, via: entitlement, depth: state.depth + 1, sure, unknown });
      }
      for (const group of data.nodes[state.node][5])
        if (!visited(at, group, -1))
          states.push({ parent: at, step: -1, node: group, via: -1, depth: state.depth + 1, sure: state.sure, unknown: state.unknown });
    }
    for (const one of found.values()) one.more ||= one.paths.some((path) => crowded(path.at));
    return { states, found: [...found.values()] };
  }
  const station = (node, note) => ({ kind: KINDS[data.nodes[node][3]], text: name(node), note: note || "", id: plain(T[data.nodes[node][1]]) });
  function chains(states, path) {
    const head = [];
    for (let at = path.at; at >= 0; at = states[at].parent) {
      const state = states[at];
      let note = "";
      if (state.step === -1) note = "by what it is";
      else if (state.step !== null) {
        const first = data.grants[state.step][3][0];
        const way = first === undefined ? [] : data.ways[first];
        const via = way.filter(([kind]) => T[kind] === "mapping").map(([, text]) => T[text]);
        note = [...via, way.length ? T[way[way.length - 1][2]] : ""].filter(Boolean).join("; ");
        if (data.grants[state.step][5]) note = "the file does not say through what";
      }
      head.unshift(station(state.node, plain(note)));
    }
    if (data.grants[path.grant][5]) head.push({ kind: "unknown", text: "inherited", note: "the file does not say through what" });
    return data.grants[path.grant][3].map((way) =>
      head.concat(data.ways[way].map(([kind, text, note]) => ({ kind: T[kind], text: plain(T[text]), note: plain(T[note]) }))));
  }

  // Tables: fifty rows at a time, so that their number does not matter.
  function table(place, caption, columns, rows, key) {
    const state = { rows, page: 0, sorted: columns.findIndex((column) => column.first), up: false };
    function draw(focus) {
      const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
      state.page = Math.min(state.page, pages - 1);
      const from = state.page * PAGE, shown = state.rows.slice(from, from + PAGE);
      const heads = columns.map((column, at) => h("th", {
        scope: "col", class: column.number ? "n" : null,
        "aria-sort": at === state.sorted ? (state.up ? "ascending" : "descending") : "none",
      }, h("button", { type: "button", on: { click: () => { state.up = at === state.sorted ? !state.up : !column.number; state.sorted = at; order(); draw(at); } } },
        column.title, at === state.sorted ? h("span", { "aria-hidden": "true" }, state.up ? " \u25b4" : " \u25be") : null)));
      const body = shown.map((row) => h("tr", {}, columns.map((column) =>
        h("td", { class: column.number ? "n" : column.tight ? "tight" : null }, column.cell(row)))));
      const turn = (title, by, off) => h("button", { type: "button", disabled: off, on: { click: () => { state.page += by; draw(title); } } }, title);
      place.replaceChildren(
        h("table", { id: key }, h("caption", {}, `${number(state.rows.length)} ${caption}`), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body)),
        pages > 1 ? h("div", { class: "pager" }, turn("Previous", -1, state.page === 0), turn("Next", 1, state.page === pages - 1),
          h("span", {}, `page ${number(state.page + 1)} of ${number(pages)}`)) : "");
      if (typeof focus === "number") place.querySelectorAll("th button")[focus].focus();
      else if (focus) [...place.querySelectorAll(".pager button")].find((b) => b.textContent === focus && !b.disabled)?.focus();
    }
    function order() {
      const column = columns[state.sorted], sign = state.up ? 1 : -1;
      const value = new Map(state.rows.map((row) => [row, column.sort(row)]));
      state.rows.sort((a, b) => {
        const [x, y] = [value.get(a), value.get(b)];
        return (x < y ? -1 : x > y ? 1 : 0) * sign || a[0] - b[0];
      });
    }
    function set(rows) { state.rows = rows; state.page = 0; order(); draw(); }
    set(rows);
    return set;
  }
  const badge = (level) => level < 0 ? "" : h("span", { class: "badge " + LEVELS[level] }, LEVELS[level]);
  const open = (kind, node, text) => h("button", { type: "button", class: "link", on: { click: () => { location.hash = kind + "=" + node; } } }, text);
  const id = (node) => plain(T[data.nodes[node][1]]);

  const people = [
    { title: "Name", cell: (row) => [open("p", row[0], name(row[0])), id(row[0]) === name(row[0]) ? "" : h("small", {}, id(row[0]))], sort: (row) => name(row[0]).toLowerCase() },
    { title: "What", tight: true, cell: (row) => SORTS[data.nodes[row[0]][3]], sort: (row) => data.nodes[row[0]][3] },
    { title: "Where", cell: (row) => realm(row[0]), sort: (row) => realm(row[0]) },
    { title: "Accesses", number: true, cell: (row) => number(row[1]), sort: (row) => row[1] },
    { title: "Worst finding", tight: true, first: true, cell: (row) => badge(row[2]), sort: (row) => (row[2] < 0 ? -9 : -row[2]) * 1e3 - data.nodes[row[0]][3] },
  ];
  const roles = [
    { title: "Role", cell: (row) => [open("r", row[0], name(row[0])), id(row[0]) === name(row[0]) ? "" : h("small", {}, id(row[0]))], sort: (row) => name(row[0]).toLowerCase() },
    { title: "Kind", tight: true, cell: (row) => plain(T[data.nodes[row[0]][2]]).replaceAll("_", " "), sort: (row) => T[data.nodes[row[0]][2]] },
    { title: "Where", cell: (row) => realm(row[0]), sort: (row) => realm(row[0]) },
    { title: "Direct holders", number: true, cell: (row) => number(row[1]), sort: (row) => row[1] },
    { title: "People", number: true, cell: (row) => number(row[2]), sort: (row) => row[2] },
    { title: "Worst finding", tight: true, first: true, cell: (row) => badge(row[3]), sort: (row) => (row[3] < 0 ? -9 : -row[3]) * 1e7 + row[2] },
  ];
  const element = (id) => document.getElementById(id);
  const low = data.nodes.map((node) => (T[node[0]] + "\n" + T[node[1]]).toLowerCase());
  const setPeople = table(element("people-table"), "principals", people, data.principals.slice(), "principals");
  const setRoles = table(element("roles-table"), "roles, groups and policies that somebody holds", roles, data.roles.slice(), "held");
  function filter() {
    const words = element("people-search").value.toLowerCase().split(/\s+/).filter(Boolean), sort = element("people-sort").value;
    setPeople(data.principals.filter(([node]) => (sort === "" || data.nodes[node][3] === Number(sort)) && words.every((word) => low[node].includes(word))));
  }
  function filterRoles() {
    const words = element("roles-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    setRoles(data.roles.filter(([node]) => words.every((word) => low[node].includes(word))));
  }
  let timer = 0;
  const later = (run) => () => { clearTimeout(timer); timer = setTimeout(run, 120); };
  element("people-search").addEventListener("input", later(filter));
  element("people-sort").addEventListener("change", filter);
  element("roles-search").addEventListener("input", later(filterRoles));
  for (const form of ["people-form", "roles-form"]) element(form).addEventListener("submit", (event) => event.preventDefault());

  const mark = (sure) => sure < 3 ? h("span", { class: "mark " + CERTAINTY[sure] }, CERTAINTY[sure]) : "";
  const WORDS = { "iam-role": "IAM role", "stand-in": "name", mapping: "mapped by", "kubernetes-group": "group", binding: "binding", unknown: "" };
  const chain = (links) => h("ol", { class: "chain" }, links.map((link) => h("li", {}, h("span", { class: "chip", title: link.id || null },
    h("small", {}, WORDS[link.kind] ?? link.kind), link.text, link.note ? h("em", {}, ` (${link.note})`) : ""))));

  // A graph of the paths: one column a station, the same station once.
  function graph(all) {
    const WIDTH = 190, HEIGHT = 40, GAP_X = 46, GAP_Y = 14, MOST = 40;
    const nodes = new Map(), edges = new Set();
    let cut = false;
    for (const links of all) {
      const fresh = links.filter((link, at) => !nodes.has(at + "\n" + link.kind + "\n" + link.text)).length;
      if (nodes.size + fresh > MOST) { cut = true; continue; }
      let before = null;
      links.forEach((link, at) => {
        // The last station of all paths stands in a column of its own.
        const key = at + "\n" + link.kind + "\n" + link.text;
        if (!nodes.has(key)) nodes.set(key, { link, column: at });
        if (before !== null) edges.add(before + "\0" + key);
        before = key;
      });
    }
    const columns = [];
    for (const node of nodes.values()) (columns[node.column] ||= []).push(node);
    const rows = Math.max(...columns.map((column) => column.length));
    const height = rows * (HEIGHT + GAP_Y) + GAP_Y, width = columns.length * (WIDTH + GAP_X) + GAP_X / 2;
    columns.forEach((column, x) => column.forEach((node, y) => {
      node.x = GAP_X / 2 + x * (WIDTH + GAP_X);
      node.y = GAP_Y + y * (HEIGHT + GAP_Y) + (rows - column.length) * (HEIGHT + GAP_Y) / 2;
    }));
    const short = (text) => text.length > 25 ? text.slice(0, 13) + "\u2026" + text.slice(-11) : text;
    const drawn = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Graph of ${all.length} paths; the same paths are listed as text below` });
    for (const edge of edges) {
      const [a, b] = edge.split("\0").map((key) => nodes.get(key));
      const x1 = a.x + WIDTH, y1 = a.y + HEIGHT / 2, x2 = b.x, y2 = b.y + HEIGHT / 2, bend = GAP_X / 2;
      drawn.append(svg("path", { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }));
    }
    for (const { link, x, y } of nodes.values())
      drawn.append(svg("g", {}, svg("title", {}, link.text + (link.note ? ` (${link.note})` : "")),
        svg("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 5, class: link.kind }),
        svg("text", { x: x + 8, y: y + 14, class: "k" }, WORDS[link.kind] ?? link.kind),
        svg("text", { x: x + 8, y: y + 30 }, short(link.text))));
    return [h("div", { class: "graph", tabindex: "0", role: "group", "aria-label": "Graph of the paths, scrolls sideways" }, drawn),
      cut ? h("p", { class: "note" }, "The graph shows the first paths; the list below has all.") : null];
  }
  const close = (place) => h("button", { type: "button", on: { click: () => { history.pushState(null, "", location.pathname + location.search); place.replaceChildren(); element("people-search").focus(); } } }, "Close");

  function showPrincipal(node) {
    const place = element("person"), { states, found } = access(node, PATHS);
    const level = (one) => Math.min(...one.paths.map((path) => data.grants[path.grant][6]).map((level) => level < 0 ? 9 : level));
    const order = (one) => [level(one), realm(data.entitlements[one.entitlement][0]), what(one.entitlement)].join("\n");
    found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
    // What leads on is in the graph as a station already.
    const ends = found.filter((one) => !data.entitlements[one.entitlement][2]);
    const all = (ends.length ? ends : found).flatMap((one) => chains(states, one.paths[0]).slice(0, 1));
    const list = h("ul", { class: "access" });
    let shown = 0;
    const more = h("button", { type: "button", on: { click: () => add() } });
    function add() {
      for (const one of found.slice(shown, shown + 100)) {
        const ways = one.paths.flatMap((path) => chains(states, path)), sure = Math.max(...one.paths.map((path) => path.sure));
        const cut = one.more || one.paths.some((path) => data.grants[path.grant][4] > data.grants[path.grant][3].length);
        list.append(h("li", {}, h("details", { open: found.length <= 12 }, h("summary", {}, level(one) < 9 ? [badge(level(one)), " "] : "", what(one.entitlement), " ",
          h("span", { class: "note" }, realm(data.entitlements[one.entitlement][0])), " ", mark(sure), " ",
          h("span", { class: "note" }, ways.length > 1 || cut ? `${ways.length}${cut ? " or more" : ""} paths` : "")), ways.map(chain))));
      }
      shown = Math.min(found.length, shown + 100);
      more.textContent = `Show ${number(Math.min(100, found.length - shown))} more of ${number(found.length - shown)}`;
      more.hidden = shown >= found.length;
    }
    add();
    place.replaceChildren(h("div", { class: "panel" },
      h("header", {}, h("h3", {}, `${SORTS[data.nodes[node][3]]} ${name(node)}`), close(place)),
      h("p", { class: "note" }, h("code", {}, id(node)), ` has ${number(found.length)} ${found.length === 1 ? "access" : "accesses"}`),
      all.length ? graph(all) : null, list, more));
    place.focus();
  }
  function showRole(node) {
    const place = element("role"), direct = new Map(), seen = new Set();
    for (const entitlement of on(node)) for (const grant of holders(entitlement)) {
      const who = data.grants[grant][0];
      if (!direct.has(who)) direct.set(who, []);
      direct.get(who).push(grant);
    }
    const queue = [...direct.keys()];
    for (const who of queue) {
      if (seen.has(who)) continue;
      seen.add(who);
      for (const entitlement of on(who)) for (const grant of holders(entitlement)) queue.push(data.grants[grant][0]);
    }
    // Whoever reaches a holder has the role only if the path is one: asked of each.
    const own = new Set(on(node));
    const others = [...seen].filter((who) => !direct.has(who)).slice(0, 2000).filter((who) => access(who, 1).found.some((one) => own.has(one.entitlement)));
    const line = (who, how) => h("li", {}, open("p", who, name(who)), h("span", { class: "note" }, ` ${SORTS[data.nodes[who][3]]} `), how);
    const bySort = (a, b) => data.nodes[a][3] - data.nodes[b][3] || (name(a) < name(b) ? -1 : 1);
    const directs = [...direct.keys()].sort(bySort);
    place.replaceChildren(h("div", { class: "panel" },
      h("header", {}, h("h3", {}, name(node)), close(place)),
      h("p", { class: "note" }, h("code", {}, id(node))),
      h("h4", {}, `Holds it itself: ${number(directs.length)}`),
      h("ul", { class: "access" }, directs.slice(0, 300).map((who) => line(who, h("span", {}, direct.get(who).slice(0, 6).map((grant) => [what(data.grants[grant][1]), " ", mark(data.grants[grant][2]), " "]))))),
      directs.length > 300 ? h("p", { class: "note" }, `and ${number(directs.length - 300)} more`) : null,
      others.length ? [h("h4", {}, `Has it through these: ${number(others.length)}`), h("ul", { class: "access" }, others.sort(bySort).slice(0, 300).map((who) => line(who, ""))),
        others.length > 300 ? h("p", { class: "note" }, `and ${number(others.length - 300)} more`) : null] : null));
    place.focus();
  }
  // The system's theme, or the one that is chosen; only the script can change it.
  const themes = [["", "of the system"], ["light", "light"], ["dark", "dark"]];
  const theme = h("select", { id: "theme", on: { change: () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  } } }, themes.map(([value, title]) => h("option", { value }, title)));
  document.querySelector("nav").append(h("label", {}, "Theme ", theme));

  function route() {
    const match = /^#([pr])=(\d+)$/.exec(location.hash);
    if (!match) return;
    const node = Number(match[2]);
    if (!data.nodes[node]) return;
    (match[1] === "p" ? showPrincipal : showRole)(node);
  }
  addEventListener("hashchange", route);
  // A printed finding shows what it says.
  addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details.finding")) details.open = true; });
  route();
  // For tests: what everybody has, as the page finds it.
  if (location.hash === "#check") document.body.replaceChildren(h("pre", {}, JSON.stringify(data.principals.map(([node]) =>
    [T[data.nodes[node][2]] + ":" + T[data.nodes[node][1]], access(node, PATHS).found.map((one) => [T[data.entitlements[one.entitlement][3]], Math.max(...one.paths.map((path) => path.sure)), one.paths.length, one.more]).sort((a, b) => (a[0] < b[0] ? -1 : 1))]))));
})();
