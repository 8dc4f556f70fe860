// Compares due times with those of the npm package croner.
//
//   node croner.mjs CRONER FILE
//
// CRONER is the package's directory. Each line of FILE: expression, zone, and pairs FROM>DUE in
// seconds since 1970, separated by tabs. Prints what differs and ends with 1 if something does.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Cron } = createRequire(import.meta.url)(process.argv[2]);
let compared = 0;
const differ = [];
for (const line of readFileSync(process.argv[3], "utf8").split("\n").filter(Boolean)) {
  const [expression, timezone, ...pairs] = line.split("\t");
  const cron = new Cron(expression, { timezone, paused: true });
  for (const pair of pairs) {
    const [from, due] = pair.split(">").map(Number);
    const theirs = cron.nextRun(new Date(from * 1000));
    ++compared;
    if (theirs?.getTime() !== due * 1000)
      differ.push(`${expression} in ${timezone} behind ${new Date(from * 1000).toISOString()}: ` +
        `${new Date(due * 1000).toISOString()}, croner ${theirs?.toISOString()}`);
  }
}
console.log(`${compared} due times compared, ${differ.length} differ`);
console.log(differ.slice(0, 20).join("\n"));
process.exit(differ.length === 0 ? 0 : 1);
