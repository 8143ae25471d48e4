"use strict";
(function () {
  var members = [
    "trace_id", "run", "input_id", "persona", "input", "output", "status", "passed", "score", "ms", "tokens", "cost", "place",
  ];
  var runs = JSON.parse(document.getElementById("data").textContent).map(function (row) {
    var run = {};
    members.forEach(function (name, position) { run[name] = row[position]; });
    return run;
  });
  var page = 200, shown = page, sorted = {key: null, down: false}, open = new Set();
  var columns = [
    ["passed", "Result"], ["run", "Run", true], ["persona", "Persona"], ["input", "Input"], ["output", "Output"],
    ["status", "Status"], ["score", "Score", true], ["ms", "Latency", true], ["tokens", "Tokens", true],
    ["cost", "Cost", true],
  ].filter(function (column) {
    return runs.some(function (run) { return run[column[0]] !== null && run[column[0]] !== ""; });
  });
  var packs = {};
  var byId = function (id) { return document.getElementById(id); };

  // Characters that reorder or hide text are shown as escapes.
  function visible(text) {
    return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      function (sign) { return "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0"); });
  }
  function element(name, text, className) {
    var made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = visible(text);
    if (className) made.className = className;
    return made;
  }
  function duration(ms) {
    if (ms === null || ms === undefined) return "";
    if (ms < 1000) return (ms < 100 ? Number(ms.toPrecision(3)) : Math.round(ms)) + " ms";
    if (ms < 60000) return Number((ms / 1000).toPrecision(3)) + " s";
    return Math.floor(ms / 60000) + "m " + Math.round(ms % 60000 / 1000) + "s";
  }
  var formats = {
    passed: function (value) { return value ? "✓ passed" : "✗ did not pass"; },
    ms: duration,
    score: function (value) { return value === null ? "" : value.toFixed(3); },
    tokens: function (value) { return value === null ? "" : value.toLocaleString("en"); },
    cost: function (value) { return value === null ? "" : "$" + Number(value.toPrecision(3)); },
  };

  function fill(select, key) {
    Array.from(new Set(runs.map(function (run) { return run[key]; }))).filter(Boolean).sort().forEach(function (value) {
      var option = element("option", value);
      option.value = value;
      select.append(option);
    });
    select.hidden = select.options.length < 3;
  }
  function selected() {
    var words = byId("search").value.toLowerCase(), result = byId("result").value;
    var status = byId("status").value, persona = byId("persona").value;
    var found = runs.filter(function (run) {
      return (!result || run.passed === (result === "passed")) && (!status || run.status === status) &&
        (!persona || run.persona === persona) &&
        (!words || (run.input + " " + run.output + " " + run.input_id + " " + run.trace_id).toLowerCase().includes(words));
    });
    if (sorted.key) {
      found.sort(function (a, b) {
        var x = a[sorted.key], y = b[sorted.key];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        var order = typeof x === "string" ? x.localeCompare(y) : x - y;
        return sorted.down ? -order : order;
      });
    }
    return found;
  }
  // Numbers that JavaScript would write in another way, such as 1.0 or those above 2 to the 53rd, stay as they were recorded.
  function exact(key, value, context) {
    var isOther = typeof value === "number" && context && JSON.rawJSON && context.source !== String(value);
    return isOther ? JSON.rawJSON(context.source) : value;
  }
  function number(value) {
    return value !== null && typeof value === "object" ? Number(value.rawJSON) : value;
  }
  function brief(value) {
    if (value === null) return "";
    var text = typeof value === "string" ? value : JSON.stringify(value);
    return text.length <= 161 ? text : text.slice(0, 160) + "…";
  }
  function tree(steps, more) {
    var box = element("div", null, "tree");
    steps[0].forEach(function (depth, position) {
      var status = steps[3][position], failed = status !== "success";
      var input = brief(steps[5][position]), output = brief(steps[6][position]);
      var line = element("div", null, failed ? "failed" : "");
      line.style.paddingLeft = Math.min(depth, 40) * 18 + "px";
      line.append(element("span", steps[1][position], "kind"), " ", element("b", brief(steps[2][position])));
      line.append(" " + (failed ? "[" + visible(status) + "] " : "") + duration(number(steps[4][position])) + " ");
      if (input) line.append(element("bdi", "(" + input + ") "));
      if (output) line.append(element("bdi", "→ " + output));
      box.append(line);
    });
    if (more) box.append(element("div", more + " more steps", "note"));
    if (!steps[0].length) box.append(element("div", "no records of this run", "soft"));
    return box;
  }
  // The traces of many runs are compressed together; resolves to that of the run at the place.
  function unpacked(run) {
    var name = run.passed ? "passed" : "failed", key = name + run.place[0];
    if (!packs[key]) {
      if (!packs[name]) packs[name] = JSON.parse(byId(name).textContent);
      var bytes = Uint8Array.from(atob(packs[name][run.place[0]]), function (sign) { return sign.charCodeAt(0); });
      var stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      packs[key] = new Response(stream).text().then(function (text) { return JSON.parse(text, exact); });
    }
    return packs[key].then(function (details) { return details[run.place[1]]; });
  }
  function detail(run) {
    var row = element("tr", null, "detail"), cell = element("td");
    cell.colSpan = columns.length;
    row.append(cell);
    cell.append(element("p", "trace " + run.trace_id + ", input " + run.input_id, "soft"));
    if (!run.place) {
      cell.append(element("p", "The trace of this run is not in this page; see per_trace.jsonl.", "note"));
    } else if (typeof DecompressionStream === "undefined") {
      cell.append(element("p", "This browser cannot show traces: it has no DecompressionStream.", "note"));
    } else {
      unpacked(run).then(function (found) { fillDetail(cell, found); });
    }
    return row;
  }
  function fillDetail(cell, found) {
    var facts = found.facts, scores = element("ul", null, "plain");
    facts.values.concat(facts.error ? [["Error", facts.error]] : []).forEach(function (pair) {
      cell.append(element("h3", pair[0]), element("pre", pair[1]));
    });
    Object.keys(found.scores).forEach(function (name) {
      var one = found.scores[name], note = one.error || one.label || one.reason;
      var mark = one.passed === undefined ? "" : one.passed ? "✓ " : "✗ ";
      var value = one.score === undefined ? "" : ": " + number(one.score).toFixed(3);
      scores.append(element("li", mark + name + value + (note ? " (" + note + ")" : "")));
      (one.rules || []).forEach(function (rule) {
        var sign = rule.passed === null ? "– " : rule.passed ? "✓ " : "✗ ";
        var line = element("li", sign + rule.rule + ": " + rule.reason, rule.passed === false ? "bad-text" : "soft");
        line.style.paddingLeft = "18px";
        scores.append(line);
      });
    });
    cell.append(element("h3", "Scores"), scores, element("h3", "Trace"), tree(found.steps, number(facts.more_steps)));
  }
  function line(run) {
    var row = element("tr", null, "run");
    row.tabIndex = 0;
    columns.forEach(function (column) {
      var value = run[column[0]];
      var text = formats[column[0]] ? formats[column[0]](value === undefined ? null : value) : value;
      var kind = column[2] ? "number" : "text";
      if (column[0] === "passed") kind = value ? "good-text" : "bad-text";
      var cell = element("td", text, kind);
      if (column[0] === "passed") cell.style.whiteSpace = "nowrap";
      row.append(cell);
    });
    function toggle() {
      if (open.has(run)) { open.delete(run); row.nextSibling.remove(); } else { open.add(run); row.after(detail(run)); }
    }
    row.addEventListener("click", toggle);
    row.addEventListener("keydown", function (event) { if (event.key === "Enter") toggle(); });
    return row;
  }
  function draw() {
    var found = selected(), body = document.querySelector("#runs tbody"), rows = [];
    found.slice(0, shown).forEach(function (run) {
      rows.push(line(run));
      if (open.has(run)) rows.push(detail(run));
    });
    body.replaceChildren.apply(body, rows);
    byId("count").textContent = found.length.toLocaleString("en") + " of " + runs.length.toLocaleString("en") + " runs";
    byId("more").hidden = found.length <= shown;
    document.querySelectorAll("#runs th").forEach(function (heading) {
      heading.ariaSort = heading.dataset.key === sorted.key ? (sorted.down ? "descending" : "ascending") : "none";
      heading.querySelector("span").textContent = heading.dataset.key === sorted.key ? (sorted.down ? " ▼" : " ▲") : "";
    });
  }
  columns.forEach(function (column) {
    var heading = element("th", null, column[2] ? "number" : ""), button = element("button", column[1]);
    heading.dataset.key = column[0];
    button.append(element("span"));
    button.addEventListener("click", function () {
      sorted.down = sorted.key === column[0] && !sorted.down;
      sorted.key = column[0];
      draw();
    });
    heading.append(button);
    document.querySelector("#runs thead tr").append(heading);
  });
  fill(byId("status"), "status");
  fill(byId("persona"), "persona");
  ["search", "result", "status", "persona"].forEach(function (id) {
    byId(id).addEventListener("input", function () { shown = page; draw(); });
  });
  byId("more").addEventListener("click", function () { shown += page; draw(); });
  draw();
})();
