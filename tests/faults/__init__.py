"""The fault kit: what stands between and around a real server process while a test makes things go wrong.

| module | what it is |
|---|---|
| `proxy` | a TCP proxy on loopback that can delay, slow, stall, drop, reset, cut, corrupt, refuse |
| `wire` | a small WebSocket end, client or server, with every frame and every byte in the test's own hand |
| `stamps` | 40 ms of sound that carry who sent them, as which, and when |
| `caller` | calls that speak in real time, check every frame that comes back, and report; also a program |
| `echo_upstream` | a Realtime upstream that gives each frame back as a reply's sound; also a program |
| `hostile` | connections that mean harm, two dozen kinds |
| `README.md` | every fault of the list, and the test that shows what happens then |

Nothing here imports the code under test, and everything listens on loopback alone.
"""
