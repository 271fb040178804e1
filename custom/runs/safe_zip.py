"""Zip archives from untrusted sources: nothing is extracted to disk, and reads are bounded.

Members are read into memory by their exact names. An archive with a name that leads out of its
folder is refused as a whole.
"""

from __future__ import annotations

import io
import zipfile

HEADER = b"PK\x01\x02"  # of a member in the directory at the end
MOST_MEMBERS = 1000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveError(ValueError):
    """What is wrong with an archive; the caller adds its name."""


class Archive:
    """A zip archive in memory.

    :param content: its bytes
    :raises ArchiveError: not a zip, too many members, two of one name, or one outside its folder
    """

    def __init__(self, content: bytes) -> None:
        if content.count(HEADER) > MOST_MEMBERS:  # before zipfile makes an object of each
            raise ArchiveError(f"has more than {MOST_MEMBERS} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except Exception as error:  # whatever a broken directory makes zipfile raise
            raise ArchiveError(f"is no zip archive, or a damaged one ({error})") from None
        self.members = {member.filename: member for member in self._zip.infolist()}
        for name in self.members:
            if name.startswith("/") or any(c in name for c in "\\:") or ".." in name.split("/"):
                raise ArchiveError(f"has the member {name!r}, which leads out of its folder")
        if len(self.members) < len(self._zip.infolist()):
            raise ArchiveError("has two members of the same name")

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes; its size is checked, not believed.

        :raises ArchiveError: not there, larger than `limit`, or damaged
        """
        if name not in self.members:
            raise ArchiveError(f"has no {name}")
        member = self.members[name]
        if member.file_size > limit:
            raise ArchiveError(f"{name} in it has {member.file_size:,} bytes, of {limit:,} allowed")
        if member.compress_type not in METHODS or member.flag_bits & 1:
            raise ArchiveError(f"{name} in it is encrypted or compressed in an unusual way")
        try:
            with self._zip.open(member) as file:
                content = file.read(limit + 1)
                rest = file.read(1)
        except Exception as error:  # whatever damaged bytes make zipfile and zlib raise
            raise ArchiveError(f"{name} in it is damaged ({error})") from None
        if rest or len(content) != member.file_size:
            raise ArchiveError(f"{name} in it is not as large as the archive says")
        return content
