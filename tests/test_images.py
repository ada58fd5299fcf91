"""Any image becomes 28x28 grey on black, or an error that says what is wrong with the file."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fmnist import data
from fmnist.data import images, preprocess

Pixels = npt.NDArray[np.uint8]


def ramp(height: int, width: int) -> Pixels:
    """Return grey that rises to the right, and a bright upper left corner."""
    grey = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    grey[: height // 4, : width // 4] = 255
    return grey


def saved(folder: Path, pixels: npt.NDArray[np.generic], name: str = "a.png") -> Path:
    """Write pixels as an image file."""
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def test_real_images_come_back_as_they_are(real_data: Path, tmp_path: Path) -> None:
    """A test image written as PNG is read as exactly its own pixels."""
    whole = data.load(data.locate(real_data))

    for image in whole.test_images[:20]:
        assert np.array_equal(images.read(saved(tmp_path, image)), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_mode_of_the_same_picture_is_the_same(mode: str, tmp_path: Path) -> None:
    """Grey, colour, palette, opacity, inks or 16 bits: the same black and white arrives."""
    grey = ramp(56, 56) // 128 * 255
    if mode.startswith("I"):
        picture = Image.fromarray(
            (grey.astype(np.uint16) * 257).astype({"I": np.int32}.get(mode, np.uint16))
        )
    else:
        picture = Image.fromarray(grey).convert(mode)
    path = tmp_path / "a.tif"
    picture.save(path)

    with Image.open(path) as written:
        assert written.mode == mode
    assert np.abs(images.read(path).astype(int) - preprocess.resize(grey[None])[0]).max() <= 1


def test_colours_become_luma(tmp_path: Path) -> None:
    """Red, green and blue of full strength are as bright as ITU-R 601 says."""
    colours = np.zeros((28, 28, 3), np.uint8)
    for third in range(3):
        colours[:, third * 9 : (third + 1) * 9, third] = 255

    assert images.read(saved(tmp_path, colours))[5, [4, 13, 22]].tolist() == [76, 150, 29]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("side", [28, 3_000])
def test_what_is_transparent_is_background(tmp_path: Path, side: int, *, invert: bool) -> None:
    """Clear pixels become black whatever their hidden colour, inverted or not, large or small."""
    picture = np.full((side, side, 4), 60, np.uint8)
    picture[..., 3] = 255
    picture[: side // 2] = (255, 255, 255, 0)
    picture[: side // 4, :, :3] = 0
    found = images.read(saved(tmp_path, picture), invert=invert)

    assert not found[:13].any()
    assert (found[15:] == (195 if invert else 60)).all()


def test_palette_transparency_is_heeded(tmp_path: Path) -> None:
    """A GIF's or PNG's transparent colour is background too."""
    picture = Image.fromarray(ramp(28, 28)).convert("P")
    picture.putpixel((27, 27), 0)
    path = tmp_path / "a.png"
    picture.save(path, transparency=255)

    assert images.read(path)[:7, :7].max() == 0


def test_invert_makes_a_negative_before_it_pads(tmp_path: Path) -> None:
    """A garment on white becomes one on black, and what is filled up is black as well."""
    photograph = np.full((56, 28), 255, np.uint8)
    photograph[20:40, 10:20] = 30
    found = images.read(saved(tmp_path, photograph), invert=True)

    assert not found[:, :7].any()
    assert not found[:, 21:].any()
    assert found.max() == 225


@pytest.mark.parametrize(("height", "width"), [(28, 14), (400, 200), (5, 10), (1, 300), (300, 1)])
def test_images_are_padded_and_not_squashed(tmp_path: Path, height: int, width: int) -> None:
    """The longer side is 28, the shorter one keeps its share, in the middle of black."""
    found = images.read(saved(tmp_path, np.full((height, width), 200, np.uint8))) > 0

    rows, columns = found.any(axis=1).sum(), found.any(axis=0).sum()
    assert max(rows, columns) == 28
    assert min(rows, columns) == max(1, round(28 * min(height, width) / max(height, width)))
    if min(height, width) > 1:
        assert np.array_equal(found, found[::-1, ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_was_held_otherwise(tmp_path: Path, orientation: int) -> None:
    """All eight EXIF orientations of one scene are the same image."""
    scene = Image.fromarray(ramp(56, 56))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    (scene.transpose(undo[orientation]) if orientation > 1 else scene).save(path, exif=exif)

    assert np.array_equal(images.read(path), preprocess.resize(ramp(56, 56)[None])[0])


def test_a_large_photograph_is_averaged(tmp_path: Path) -> None:
    """A fine chessboard of 4000x4000 pixels becomes even grey."""
    board = (np.indices((4_000, 4_000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = images.read(saved(tmp_path, board, "a.bmp"))

    assert 126 <= found.min() <= found.max() <= 129


def png_that_claims(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header says that it is of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def encoded(form: str, frames: int = 1) -> bytes:
    """Return an image file of one or several different frames."""
    first, *others = (Image.fromarray(ramp(64, 48) // (i + 1)) for i in range(frames))
    file = io.BytesIO()
    several = {"save_all": True, "append_images": others} if others else {}
    first.save(file, form, **several)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"no image at all\n" * 9, "no image that can be read: give one of PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (encoded("PNG")[:90], "broken or truncated"),
        (encoded("JPEG")[:400], "broken or truncated"),
        (encoded("PNG")[:60] + b"\xff" * 80 + encoded("PNG")[140:], "broken or truncated"),
        (png_that_claims(28, 28), "broken or truncated"),
        (png_that_claims(9_000, 9_000), "more than 64,000,000 pixels by its header"),
        (png_that_claims(10_000, 10_000), "more than 64,000,000 pixels by its header"),
        (png_that_claims(2**31 - 1, 2**31 - 1), "more than 64,000,000 pixels by its header"),
        (encoded("GIF", 3), "3 frames or pages: save the one that is meant"),
        (encoded("PNG", 2), "2 frames or pages"),
        (encoded("TIFF", 2), "2 frames or pages"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    """Empty, foreign, truncated, damaged, gigantic, animated: the error names file and reason."""
    path = tmp_path / "photograph"
    path.write_bytes(content)

    with pytest.raises(images.ImageError, match=f"{path} .*{complaint}"):
        images.read(path)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path, "does not exist"),
        (lambda path: path.mkdir(), "is a folder: name the images in it"),
        (lambda path: path.symlink_to("/dev/null"), "is no regular file"),
    ],
)
def test_what_is_no_file_is_named(
    tmp_path: Path, make: Callable[[Path], object], complaint: str
) -> None:
    """A missing file, a folder and a device are told apart."""
    path = tmp_path / "photograph"
    make(path)

    with pytest.raises(images.ImageError, match=f"{path} {complaint}"):
        images.read(path)


def test_floats_have_no_range(tmp_path: Path) -> None:
    """A TIFF of floats could be from 0 to 1 or to 255: it is refused and not guessed at."""
    with pytest.raises(images.ImageError, match="floating-point numbers of no known range"):
        images.read(saved(tmp_path, ramp(28, 28).astype(np.float32), "a.tif"))


def test_more_than_16_bits_are_refused(tmp_path: Path) -> None:
    """A TIFF of 32-bit numbers beyond 65,535 is not cut off."""
    with pytest.raises(images.ImageError, match="more than 16 bits"):
        images.read(saved(tmp_path, np.full((28, 28), 70_000, np.int32), "a.tif"))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_damage_is_an_image_or_an_image_error(tmp_path: Path, form: str) -> None:
    """Whatever bytes are changed or lost, the outcome is an image or the one kind of error."""
    whole = encoded(form)
    rng = random.Random(0)  # noqa: S311  # damage, no secret
    path = tmp_path / "a"
    for _ in range(150):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(1, len(whole))])])
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            assert images.read(path).shape == (28, 28)
        except images.ImageError as error:
            assert str(path) in str(error)  # noqa: PT017  # either may come
