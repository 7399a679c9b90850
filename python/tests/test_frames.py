"""The frame codec."""

import json
import random
import struct
import unittest

from cerebros_worker.failures import FrameTooLarge, ProtocolBroken
from cerebros_worker.frames import MAX_FRAME_BYTES, Decoder, encode


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


class Frames(unittest.TestCase):
    def test_a_message_comes_back_whatever_the_reads_cut_it_into(self) -> None:
        dice = random.Random(1)
        messages = [{"type": "call", "text": "ü✓😀" * dice.randrange(200)} for _ in range(50)]
        stream = b"".join(encode(message) for message in messages)
        for _ in range(50):
            decoder, received, at = Decoder(), [], 0
            while at < len(stream):
                size = dice.choice([1, 2, 3, 4, 5, 100, 5000])
                received += decoder.feed(stream[at : at + size])
                at += size
            self.assertEqual(received, messages)

    def test_the_body_is_compact_utf8(self) -> None:
        self.assertEqual(encode({"a": ["é", 1]}), frame('{"a":["é",1]}'.encode()))

    def test_a_lone_surrogate_still_makes_valid_utf8(self) -> None:
        self.assertEqual(json.loads(encode({"a": "\udce9"})[4:].decode("utf-8")), {"a": "?"})

    def test_a_message_of_the_limit_passes_and_one_byte_more_does_not(self) -> None:
        spare = MAX_FRAME_BYTES - len(b'{"a":""}')
        whole = encode({"a": "x" * spare})
        self.assertEqual(len(Decoder().feed(whole)), 1)
        with self.assertRaisesRegex(FrameTooLarge, r"8388609 bytes.*8388608 bytes \(8 MiB\)"):
            encode({"a": "x" * (spare + 1)})

    def test_a_frame_that_announces_too_much_is_refused_before_its_body(self) -> None:
        with self.assertRaisesRegex(ProtocolBroken, "announces 4294967295 bytes"):
            Decoder().feed(b"\xff\xff\xff\xff{")

    def test_what_is_no_json_object_is_refused(self) -> None:
        for body in (b"{", b"[]", b"\xff\xfe", b'"text"', b"[" * 100_000):
            with self.subTest(body=body[:10]), self.assertRaises(ProtocolBroken):
                Decoder().feed(frame(body))

    def test_non_finite_numbers_never_reach_a_frame_unseen(self) -> None:
        with self.assertRaises(ValueError):
            encode({"a": float("nan")})
