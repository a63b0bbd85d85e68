"""The storage of files that the settings choose."""

from services.files.media import LocalMedia, MediaStore, media_faults
from settings import Settings, SettingsError


def media_from_settings(settings: Settings) -> MediaStore:
    faults = media_faults(dict(settings))
    if faults:
        raise SettingsError("\n".join(faults))
    local = LocalMedia(settings.data_dir / "media", settings.public_url)
    secret = settings.cloudinary_api_secret
    if not secret:
        return local
    from services.files.cloudinary_media import CloudinaryMedia  # with the SDK, which other servers do not load

    return CloudinaryMedia(settings, secret.get_secret_value(), local)
