// Evaluates conditions with json-rules-engine, and the fields of the time with the timezones of Node.
// Each line of standard input is {condition, facts}, a condition of json-rules-engine. For each, it prints true or false.
// `facts.now` is in microseconds since 1970.
import { createInterface } from "node:readline";
import { Engine, Operator } from "json-rules-engine";

const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number";
const lower = (text) => text.toLowerCase();
const within = (some, other) => some.every((item) => other.includes(item));
// What json-rules-engine lacks: [name, comparison of a fact with a value, facts to which it applies].
const operators = [
  ["isNumber", (fact, expected) => isNumber(fact) === expected],
  ["isEmptyList", (fact) => fact.length === 0, Array.isArray],
  ["sameSet", (fact, value) => within(fact, value) && within(value, fact), Array.isArray],
  ["textContains", (fact, value) => lower(fact).includes(lower(value)), isText],
  ["textStartsWith", (fact, value) => lower(fact).startsWith(lower(value)), isText],
].map(([name, compare, applies]) => new Operator(name, compare, applies));
const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

function ofTheTime(now, timeZone) {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, weekday: "long", hour: "numeric", hourCycle: "h23" });
  const parts = Object.fromEntries(format.formatToParts(new Date(now / 1000)).map(({ type, value }) => [type, value]));
  const [weekday, hour] = [parts.weekday.toLowerCase(), Number(parts.hour)];
  const rank = WEEKDAYS.indexOf(weekday);
  return { weekday, "weekday#rank": rank, hour, working_hours: rank < 5 && 9 <= hour && hour < 17 };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { condition, facts } = JSON.parse(line);
  const engine = new Engine([{ conditions: { all: [condition] }, event: { type: "held" } }]);
  for (const operator of operators) engine.addOperator(operator);
  const { events } = await engine.run({ ...facts, ...ofTheTime(facts.now, facts.timezone) });
  process.stdout.write(`${events.length === 1}\n`);
}
