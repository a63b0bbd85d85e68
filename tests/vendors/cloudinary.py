"""A stand-in for Cloudinary's upload API (https://cloudinary.com/documentation/image_upload_api_reference).

It keeps signed multipart uploads in memory and serves them; `destroy` deletes them.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from typing import Any

from tests.vendors.stand_in import Answer, Handler, StandIn

CLOUD_NAME = "test-cloud"
API_KEY = "123456789012345"
API_SECRET = "cloudinary-test-secret"
UNSIGNED = {"file", "api_key", "cloud_name", "resource_type", "signature"}
MAX_KEPT = 200
KINDS = {b"\x89PNG": ("png", "image/png"), b"\xff\xd8\xff": ("jpg", "image/jpeg"), b"GIF8": ("gif", "image/gif")}


def refusal(status: int, message: str) -> Answer:
    return status, {"error": {"message": message}}


def sign(fields: dict[str, str]) -> str:
    """Return Cloudinary's signature: most fields sorted and joined, followed by the secret, as SHA-1."""
    pairs = sorted(f"{name}={value}".replace("&", "%26") for name, value in fields.items() if name not in UNSIGNED)
    return hashlib.sha1(("&".join(pairs) + API_SECRET).encode()).hexdigest()


def kind_of(content: bytes) -> tuple[str, str]:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp", "image/webp"
    return next((kind for magic, kind in KINDS.items() if content.startswith(magic)), ("", "application/octet-stream"))


class Signed(Handler):
    def fields(self) -> dict[str, str]:
        return {name: self.get_body_argument(name) for name in self.request.body_arguments}

    def find_refusal(self, cloud: str) -> Answer | None:
        fields = self.fields()
        if cloud != CLOUD_NAME:
            return refusal(401, f"Invalid cloud_name {cloud}")
        if fields.get("api_key") != API_KEY:
            return refusal(401, f"Unknown API key {fields.get('api_key')}")
        if abs(time.time() - int(fields.get("timestamp", "0"))) > 3600:
            return refusal(400, "Stale request - reported time is more than 1 hour ago")
        if fields.get("signature") != sign(fields):
            return refusal(401, "Invalid Signature. String to sign - '...'.")
        return None


class Upload(Signed):
    def post(self, cloud: str, resource_type: str) -> None:
        refused = self.find_refusal(cloud)
        files = self.request.files.get("file", [])
        if refused or not files:
            return self.answer(*(refused or refusal(400, "Missing required parameter - file")))
        content, name = files[0].body, files[0].filename
        extension, _ = kind_of(content)
        if resource_type == "image" and not extension:
            return self.answer(*refusal(400, "Invalid image file"))
        return self.answer(200, self.vendor.keep(self.fields(), content, name, resource_type, extension))


class Destroy(Signed):
    def post(self, cloud: str, resource_type: str) -> None:
        refused = self.find_refusal(cloud)
        if refused:
            return self.answer(*refused)
        found = self.vendor.assets.pop((resource_type, self.fields().get("public_id", "")), None)
        return self.answer(200, {"result": "ok" if found else "not found"})


class Deliver(Handler):
    def get(self, resource_type: str, path: str) -> None:
        public_id = path if resource_type == "raw" else path.rsplit(".", 1)[0]
        content = self.vendor.assets.get((resource_type, public_id))
        if content is None:
            return self.answer(404, "")
        self.set_header("Content-Type", kind_of(content)[1])
        return self.answer(200, content)


class Cloudinary(StandIn):
    """`assets` holds the contents by (resource type, public id), at most MAX_KEPT of them."""

    failures = {
        "bad_signature": refusal(401, "Invalid Signature"),
        "rate_limited": refusal(420, "Rate Limit Exceeded"),
        "too_large": refusal(400, "File size too large. Got 11534336. Maximum is 10485760."),
        "server_error": refusal(500, "Internal error"),
        "bad_gateway": (502, "<html>502 Bad Gateway</html>"),
        "nonsense": (200, "<html>welcome</html>"),
        "no_url": (200, {"public_id": "x"}),
    }
    routes = [
        ("/v1_1/([^/]+)/(image|raw|video|auto)/upload", Upload),
        ("/v1_1/([^/]+)/(image|raw|video)/destroy", Destroy),
        (f"/{CLOUD_NAME}/(image|raw|video)/upload/v[0-9]+/(.+)", Deliver),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.assets: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def keep(self, fields: dict[str, str], content: bytes, name: str, asked: str, extension: str) -> dict[str, Any]:
        resource_type = asked if asked != "auto" else ("image" if extension else "raw")
        public_id = fields.get("public_id") or secrets.token_hex(10)
        if fields.get("folder"):
            public_id = f"{fields['folder']}/{public_id}"
        self.assets[resource_type, public_id] = content
        while len(self.assets) > MAX_KEPT:
            self.assets.popitem(last=False)
        version = int(time.time())
        file = f"{public_id}.{extension}" if extension and resource_type == "image" else public_id
        # The real service answers https addresses; the stand-in serves plain HTTP.
        url = f"{self.url}/{CLOUD_NAME}/{resource_type}/upload/v{version}/{file}"
        return {
            "asset_id": secrets.token_hex(16),
            "public_id": public_id,
            "version": version,
            "version_id": secrets.token_hex(16),
            "signature": secrets.token_hex(20),
            "width": 1080,
            "height": 1080,
            "format": extension,
            "resource_type": resource_type,
            "created_at": "2026-10-30T09:00:00Z",
            "tags": [],
            "bytes": len(content),
            "type": "upload",
            "etag": hashlib.md5(content).hexdigest(),
            "placeholder": False,
            "url": url,
            "secure_url": url,
            "folder": fields.get("folder", ""),
            "original_filename": name.rsplit(".", 1)[0],
        }
