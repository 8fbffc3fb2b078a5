// Parse JSON into objects and keep Buffers in a cache that is then emptied.
'use strict';
const fs = require('fs');
let seed = 15;
const next = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;

const cache = new Map();
for (let turn = 0; turn < 40000; turn++) {
  const size = 512 + next(16000);
  cache.set(turn, Buffer.alloc(size, turn & 255));
  if (turn % 4 === 0)
    cache.set('o' + turn, JSON.parse(JSON.stringify({ turn, list: Array.from({ length: 50 }, () => next(1e6)) })));
  if (cache.size > 14000) cache.delete(cache.keys().next().value);
}
const kept = [...cache.values()].filter((_, i) => i % 500 === 0);
cache.clear();
// V8 frees Buffers beside the program, some of them only when it collects again.
let turns = 6;
const collect = () => {
  global.gc();
  if (--turns) setTimeout(collect, 500);
  else setTimeout(() => fs.writeFileSync('ready', String(kept.length)), 2000);
};
collect();
process.stdin.resume();
