"""Requests that make no sense, for a page that runs: odd values in place of those that are expected."""

LONG = b"a" * 201
ODD = [  # below /gradio_api/, and the body: each is refused in a sentence
    ("cancel", b'{"session_hash": "a", "fn_index": NaN, "event_id": NaN}'),
    ("reset", b'{"event_id": NaN}'),
    ("reset", b'{"event_id": Infinity}'),
    ("cancel", b'{"event_id": "\\ud800", "session_hash": "\\ud800", "fn_index": 0}'),
    ("queue/join", b'{"data": [], "fn_index": -1, "session_hash": "a"}'),
    ("queue/join", b'{"data": [], "fn_index": true, "session_hash": "a"}'),
    ("queue/join", b'{"data": [], "fn_index": 1e400, "session_hash": "a"}'),
    ("queue/join", b'{"data": [], "fn_index": 99999999999999999999, "session_hash": "a"}'),
    ("queue/join", b'{"data": [], "fn_index": 0, "session_hash": "\\ud800"}'),
    ("queue/join", b'{"data": [], "fn_index": 0, "session_hash": "' + 1000 * LONG + b'"}'),
    ("call/classify", b'{"data": [], "session_hash": "' + LONG + b'"}'),
    ("call/classify", b'{"data": ["\\ud800"]}'),
    ("call/classify", b'{"data": [{"path": "\\ud800"}]}'),
    ("call/classify", b'{"data": "\xff"}'),
    ("call/classify", b"nonsense"),
    ("call/classify", '{"data": []}'.encode("utf-16")),  # in which nothing would be counted
    ("call/v2/classify", b'{"photo": {"path": "\\udfff"}}'),
    ("mcp/", b'{"jsonrpc": "2.0", "id": NaN, "method": "tools/list"}'),
    ("mcp/", b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}'),
]
