# SPDX-License-Identifier: Apache-2.0
"""Finds a worker with nats-py, as any NATS micro service, and runs a script with it. test_fleet_micro.py calls it with the server's address."""
import asyncio
import json
import sys

import nats
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats


async def main():
    client = await nats.connect(sys.argv[1])
    answer = await client.request("pyexec.v1.run", json.dumps({"code": "6 * 7"}).encode(), timeout=60)
    value = json.loads(answer.data)["last_value_repr"]
    found = []
    for kind, verb in ((ServicePing, "PING"), (ServiceInfo, "INFO"), (ServiceStats, "STATS")):
        answer = await client.request("$SRV.%s.pyexec" % verb, timeout=60)
        found.append(kind.from_dict(json.loads(answer.data)))
    ping, info, stats = found
    print(json.dumps({"value": value, "names": [each.name for each in found], "ids": [each.id for each in found], "version": ping.version,
                      "subjects": [endpoint.subject for endpoint in info.endpoints], "requests": stats.endpoints[0].num_requests,
                      "zone": json.loads(info.metadata["labels"])["zone"]}))
    await client.close()


asyncio.run(main())
