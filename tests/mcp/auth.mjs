// Loaded before the conformance suite, which has no option for it: gives each request the server's token.
import {createRequire} from 'node:module';
import {join} from 'node:path';

const {Agent, setGlobalDispatcher} = createRequire(join(process.env.MCP_MODULES, 'package.json'))('undici');
const token = 'Bearer ' + process.env.MCP_TOKEN;
const add = dispatch => (options, handler) => {
    const headers = Array.isArray(options.headers)
        ? [...options.headers, 'authorization', token]
        : {...Object.fromEntries(options.headers?.entries?.() ?? Object.entries(options.headers ?? {})), authorization: token};
    return dispatch({...options, headers}, handler);
};
setGlobalDispatcher(new Agent().compose(add));
