// A task of 2025-11-25 through the official TypeScript SDK, which polls for its end: detached.mjs TARGET, as for client.mjs.
import {createRequire} from 'node:module';
import {join} from 'node:path';

const target = JSON.parse(process.argv[2]);
const require = createRequire(join(process.env.MCP_MODULES, 'package.json'));
const load = path => import(require.resolve('@modelcontextprotocol/sdk/' + path));
const {Client} = await load('client/index.js');
const {StdioClientTransport} = await load('client/stdio.js');
const {StreamableHTTPClientTransport} = await load('client/streamableHttp.js');
const {CallToolResultSchema} = await load('types.js');

const client = new Client({name: 'pyexec-tests', version: '1'});
await client.connect(target.command
    ? new StdioClientTransport({command: target.command, args: target.args, env: {...process.env, ...target.env}})
    : new StreamableHTTPClientTransport(new URL(target.url), {requestInit: {headers: {Authorization: 'Bearer ' + target.token}}}));
const seen = {steps: []};
const call = {name: 'run_python', arguments: {code: "print('hello')\n6 * 7"}};
for await (const message of client.experimental.tasks.callToolStream(call, CallToolResultSchema, {task: {ttl: 60000}})) {
    seen.steps.push(message.type === 'taskStatus' ? message.task.status : message.type);
    if (message.type === 'result')
        seen.value = message.result.structuredContent.last_value_repr;
    if (message.type === 'error')
        seen.error = String(message.error);
}
await client.close();
console.log(JSON.stringify(seen));
