"""The close codes of /ws (docs/api.md, Realtime). A client decides by the code whether and when to reconnect."""

GOING_AWAY = 1001  # the instance stops: reconnect
TRY_AGAIN = 1013  # the database is unavailable: reconnect later
PROTOCOL_ERROR = 4400
INVALID_TOKEN = 4401  # refresh the token, then reconnect
SESSION_ENDED = 4403  # suspended, deleted or logged out: do not reconnect
NOT_SIGNED_IN = 4408  # no sign-in in time
FLOOD = 4429  # too many frames or sockets
TOO_SLOW = 4508  # the client reads too slowly: reconnect and resume
