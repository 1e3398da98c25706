"""Real images, by name or folder, that generated images are compared with."""

from cawa_core.errors import InputError, suggestion
from cawa_core.paths import user_path
from cawa_core.real_images.base import RealImages, RealImagesRequest
from cawa_core.registry import Registry

REAL_IMAGES: Registry[RealImages] = Registry("real_images")
REAL_IMAGES.register("fashion-mnist-test", "cawa_core.real_images.fashion:FashionMnistTest")
REAL_IMAGES.register("scenes", "cawa_core.real_images.scenes:ScenesImages")


def open_real_images(request: RealImagesRequest) -> RealImages:
    """Open the registered set of that name, or else the folder of class folders at that path.

    Raises:
        InputError: the name is neither, or the names of the class folders match no classes.
    """
    from cawa_core.real_images.folder import ImageFolder

    folder = user_path(request.name)
    if request.name in REAL_IMAGES.names() or (":" in request.name and not folder.exists()):
        return REAL_IMAGES.make(request.name, request)
    if not folder.exists():
        known = REAL_IMAGES.names()
        raise InputError(
            f"real_images must be {', '.join(known)} or a folder of class folders; {request.name!r} is neither"
            f"{suggestion(request.name, known)}"
        )
    class_folders = user_path(request.class_folders) if request.class_folders else None
    return ImageFolder(
        folder,
        request.image_size,
        request.image_channels,
        request.classes.names,
        request.classes.wordnet_ids,
        class_folders,
        class_ids=request.class_ids,
    )
