"""The web client's spellings (contract §1): each is served by the canonical route's handler."""

# (method, web client's path) → (method, canonical path)
ALIASES: dict[tuple[str, str], tuple[str, str]] = {
    ("POST", "/connections/send"): ("POST", "/connections/request"),
    ("PUT", "/connections/{id}/accept"): ("PATCH", "/connections/requests/{id}/accept"),
    ("PUT", "/connections/{id}/reject"): ("PATCH", "/connections/requests/{id}/reject"),
    ("DELETE", "/connections/{id}/withdraw"): ("DELETE", "/connections/requests/{id}"),
    ("GET", "/notifications/unread-count"): ("GET", "/notifications/unread"),
    ("PATCH", "/notifications/mark-all-read"): ("PATCH", "/notifications/read-all"),
    ("PATCH", "/profile/update"): ("PUT", "/profile/update"),
    ("POST", "/profile/upload-profile-picture"): ("POST", "/profile/upload-picture"),
    ("GET", "/admin/dashboard"): ("GET", "/admin/dashboard/stats"),
    ("PATCH", "/admin/users/{id}/activate"): ("PATCH", "/admin/users/{id}/unsuspend"),
    ("GET", "/social-media/tiktok/callback"): ("GET", "/social-media/tiktok/oauth/callback"),
}
