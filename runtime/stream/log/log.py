"""The log as its one writer sees it: an event that `append` has returned for is in it exactly once, whatever ends."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

from runtime.stream.events import Events
from runtime.stream.log.errors import LogError
from runtime.stream.log.frame import Frame, encode, seal
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.segments import (
    ID,
    LOG,
    Segment,
    bytes_to_cut,
    check_seals,
    frames_in,
    list_segments,
    sync_folder,
)

__all__ = ["LOCK", "SEAL_REQUEST", "EventLog"]

LOCK = "lock"
# Whoever makes this file in EVENTS has the segment sealed with the next append, and may then read it as one that stays.
SEAL_REQUEST = "seal"
APPEND = os.O_WRONLY | os.O_APPEND


class EventLog:
    """The writer of EVENTS/log/; at most one at a time, and one thread of it.

    Opening cuts off what a writer that was ended left half written, which nobody was told had been taken in.

    Args:
        folder: EVENTS; made when it is not there.
        sync: whether `append` returns only when the events would survive a crash of the machine.
        segment_bytes: size at which the next segment begins.

    Attributes:
        next_offset: of the next event.
        num_cut_bytes: that opening cut off.

    Raises:
        LogError: another process writes it, it is damaged, or it cannot be opened.
    """

    def __init__(self, folder: Path, *, sync: bool, segment_bytes: int) -> None:
        self._folder, self._sync, self._segment_bytes = folder, sync, segment_bytes
        self.next_offset, self.num_cut_bytes = 0, 0
        self._size, self._is_sealed, self._refusal = 0, False, ""
        self._segment, self._handle, self._request = Segment.at(folder, 0), -1, folder / SEAL_REQUEST
        self._lock = FolderLock(folder / LOCK, "written")
        try:
            self._open()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError) and not isinstance(error, LogError):
                raise LogError(f"the log {folder / LOG} cannot be opened ({error.strerror})") from error
            raise

    def append(self, events: Events, received_at: int) -> int:
        """Write events as one frame.

        Args:
            events: in order of arrival.
            received_at: nanoseconds since 1970.

        Returns:
            The offset of the first; the others follow without a gap.

        Raises:
            LogError: nothing of them is in the log.
        """
        if not len(events):
            return self.next_offset
        frame = Frame.of(events, self.next_offset, received_at)
        packed = encode(frame)
        if self._is_sealed or self._size >= self._segment_bytes:
            self.seal()
        self._write(packed, self._sync)
        self.next_offset = frame.next_offset
        if self._request.exists():
            self._seal_on_request()
        return frame.first_offset

    def seal(self) -> None:
        """End the segment and begin the next one, unless it has no events.

        Raises:
            LogError: the disk refuses; the log is as it was, or goes on with the next `append`.
        """
        if not self._size:
            return
        if not self._is_sealed:
            self._write(seal(self.next_offset), True)
            self._is_sealed = True
        begun = Segment.at(self._folder, self.next_offset)
        try:
            begun.path.touch()
            sync_folder(begun.path.parent)
            handle = os.open(begun.path, APPEND)
        except OSError as error:
            raise LogError(f"{begun.path} cannot be made ({error.strerror}); no event was taken in") from error
        os.close(self._handle)
        self._segment, self._handle, self._size, self._is_sealed = begun, handle, 0, False

    def _seal_on_request(self) -> None:
        """Seal after an append; what fails here has not failed its events, and is tried again before the next ones."""
        with suppress(OSError):
            self.seal()
            self._request.unlink()

    def close(self) -> None:
        """Give the log to the next writer."""
        os.close(self._handle)
        self._lock.release()

    def _open(self) -> None:
        """Find the end of the last segment, cut off what is not whole, begin the first one where there is none."""
        (self._folder / LOG).mkdir(exist_ok=True)
        self._name()
        segments = list_segments(self._folder)
        check_seals(segments)
        if segments:
            self._segment, self.next_offset = segments[-1], segments[-1].first_offset
            for raw in frames_in(self._segment, 0, self.next_offset):
                self.next_offset, self._size, self._is_sealed = raw.header.next_offset, raw.end, raw.header.is_seal
            self.num_cut_bytes = bytes_to_cut(self._segment, self._size)
        self._segment.path.touch()
        self._handle = os.open(self._segment.path, APPEND)
        try:
            # What a reader has seen stays, also what the last writer did not live to sync.
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
            sync_folder(self._folder / LOG)
            sync_folder(self._folder)
        except BaseException:
            os.close(self._handle)
            raise

    def _name(self) -> None:
        """Give a new log an id, which is there as a whole or not at all."""
        place = self._folder / LOG / ID
        if not place.exists():
            beside = place.with_suffix(".tmp")
            beside.write_text(uuid.uuid4().hex)
            beside.replace(place)

    def _write(self, packed: bytes, sync: bool) -> None:
        """Put bytes behind the last frame, all of them or none."""
        if self._refusal:
            raise LogError(self._refusal)
        try:
            view = memoryview(packed)
            while view:
                view = view[os.write(self._handle, view) :]
            if sync:
                self._wait_for_disk()
        except BaseException as error:
            self._take_back()
            if isinstance(error, OSError) and not isinstance(error, LogError):
                raise LogError(
                    f"{self._segment.path} cannot be written ({error.strerror}); no event was taken in: send them again"
                ) from error
            raise
        self._size += len(packed)

    def _wait_for_disk(self) -> None:
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            # What is on the disk now is unknown: a second fdatasync may say yes and have written nothing.
            self._refusal = (
                f"{self._segment.path} did not reach the disk ({error.strerror}); no event is taken in until the log "
                f"is opened again"
            )
            raise LogError(self._refusal) from error

    def _take_back(self) -> None:
        """Remove what was written of a frame."""
        try:
            os.ftruncate(self._handle, self._size)
        except OSError as error:
            self._refusal = self._refusal or (
                f"{self._segment.path} ends with half a frame that cannot be removed ({error.strerror}); no event is "
                f"taken in until the log is opened again"
            )
