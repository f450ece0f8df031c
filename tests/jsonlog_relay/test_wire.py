"""What is on the wire and in a line, byte by byte."""

import json
import pickle

import pytest

from jsonlog.relay.sender import put_sender, read_sender, take_numbers
from jsonlog.relay.wire import Frames, Refused, foreign, frame, message, proof, read_message

RUN_A, RUN_B, RUN_C = "a" * 16, "b" * 16, "c" * 16


def number(line, run, sequence):
    """As a writer does."""
    return line[:-1] + f',"run":"{run}","event":{{"sequence":{sequence}}}}}'.encode()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_are_cut_the_same_however_they_arrive(step):
    """Whole, byte by byte, with the beginning of the next one: the same frames."""
    frames = [b'{"a":1}', b"", b"x" * 200, b'{"b":2}']
    data = b"".join(map(frame, frames)) + b"\x00\x00"
    reader, found = Frames(200), []
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        found += reader.take()
    assert found == frames
    assert reader.held == 2


def test_a_frame_that_is_too_long_is_refused_before_it_is_read_and_those_before_it_are_given():
    """Memory is never spent on what a length promises."""
    reader = Frames(10)
    reader.feed(frame(b"good") + b"\x7f\xff\xff\xff")
    assert reader.take() == [b"good"]
    with pytest.raises(Refused, match="2147483647 bytes is longer than 10"):
        reader.take()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_known_for_what_it_is(protocol):
    """Whatever protocol a sender pickles with, it is told that this is why."""
    data = pickle.dumps({"msg": "x"}, protocol)
    assert "pickle" in foreign(data)
    with pytest.raises(Refused, match=r"pickle.*use jsonlog\.SocketHandler"):
        read_message(data)


def test_what_is_no_object_is_refused():
    """A message is a JSON object."""
    for data in (b"", b"5", b"[]", b"{", b"\xff"):
        with pytest.raises(Refused):
            read_message(data)
    assert read_message(message(ack=5)[4:]) == {"ack": 5}


def test_the_proof_depends_on_token_and_nonce():
    """Neither can be left out."""
    assert len({proof("a", "1"), proof("a", "2"), proof("b", "1")}) == 3


def test_the_senders_numbers_take_the_place_of_the_writers():
    """From a spool's line to a receiver's and back."""
    line = b'{"message":"x","extra":{"run":"y"}}'
    bare, run, sequence = take_numbers(number(line, RUN_A, 17))
    assert (bare, run, sequence) == (line, RUN_A, 17)
    sent = put_sender(bare, run, sequence, relayed=True)
    assert json.loads(sent)["sender"] == {"run": RUN_A, "sequence": 17}
    assert read_sender(number(sent, RUN_B, 0)) == (RUN_A, 17)


def test_the_first_sender_stays_as_the_origin():
    """By way of two and three hops."""
    one = put_sender(b'{"a":1}', RUN_A, 1, relayed=False)
    two = put_sender(one, RUN_B, 2, relayed=True)
    three = put_sender(two, RUN_C, 2**63 - 1, relayed=True)
    assert json.loads(two) == {"a": 1, "sender": {"run": RUN_B, "sequence": 2, "origin": {"run": RUN_A, "sequence": 1}}}
    assert json.loads(three)["sender"] == {"run": RUN_C, "sequence": 2**63 - 1, "origin": {"run": RUN_A, "sequence": 1}}
    assert read_sender(number(three, RUN_A, 5)) == (RUN_C, 2**63 - 1)


@pytest.mark.parametrize(
    "line",
    [
        b'{"extra":{"sender":{"run":"' + RUN_A.encode() + b'","sequence":1}}}',
        b'{"message":",\\"sender\\":{\\"run\\":\\"' + RUN_A.encode() + b'\\",\\"sequence\\":1}}"}',
        b'{"sender":5}',
    ],
)
def test_a_field_of_the_users_is_not_taken_for_a_sender(line):
    """Only what stands last at the top level is one."""
    assert read_sender(number(line, RUN_B, 0)) is None
    kept = json.loads(line)
    made = json.loads(put_sender(line, RUN_C, 0, relayed=True), object_pairs_hook=list)
    assert made[0] == json.loads(line, object_pairs_hook=list)[0]
    assert dict(kept)
    assert take_numbers(line) is None
