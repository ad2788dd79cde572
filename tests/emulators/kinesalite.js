// Serves kinesalite on a free port, which it prints, until its standard input ends.
const options = { createStreamMs: 0, updateStreamMs: 0, shardLimit: 1000 };
const server = require(process.argv[2] + '/node_modules/kinesalite')(options);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit());
