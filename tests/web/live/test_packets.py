"""Packets as hostile clients send them: each becomes something a handler can answer, or ends that one connection."""

from __future__ import annotations

import pytest
from socketio import packet

from kue.web.live.packets import UNREADABLE, AckWanted, ClientPacket


def test_an_event_says_last_whether_an_acknowledgement_is_awaited() -> None:
    assert ClientPacket(encoded_packet='2["start",{"a":1}]').data == ["start", {"a": 1}, AckWanted(False)]
    assert ClientPacket(encoded_packet='27["start"]').data == ["start", AckWanted(True)]


@pytest.mark.parametrize(
    "text",
    ["2", "2{}", "2[]", "2[1]", '2"start"', "2[", "2nonsense", "2" + "[" * 100_000, '2["connect"]', '2["disconnect"]'],
)
def test_what_is_no_event_is_handed_to_the_handler_for_such(text: str) -> None:
    decoded = ClientPacket(encoded_packet=text)
    assert (decoded.packet_type, decoded.data) == (packet.EVENT, [UNREADABLE, AckWanted(False)])


def test_an_unreadable_event_that_wants_an_answer_still_gets_one() -> None:
    decoded = ClientPacket(encoded_packet="212[")
    assert decoded.id == 12 and decoded.data == [UNREADABLE, AckWanted(True)]


def test_a_number_of_absurd_length_is_unreadable_not_fatal() -> None:
    assert ClientPacket(encoded_packet='2["start",' + "9" * 5000 + "]").data == [UNREADABLE, AckWanted(False)]


def test_more_attachments_than_anybody_needs_end_the_connection() -> None:
    with pytest.raises(ValueError, match="attachments"):
        ClientPacket(encoded_packet='5999999-["start",{"_placeholder":true,"num":0}]')


def test_what_we_send_is_not_touched() -> None:
    assert ClientPacket(packet.EVENT, data=["start", {"id": 1}]).encode() == '2["start",{"id":1}]'
