"""Search on a real server: what finds a job, and that its entries end with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

import kue
from kue.text.redaction import safe_text
from tests.support import wait_until


@pytest.fixture
def searching(redis_url: str) -> Iterator[kue.Queue]:
    queue = kue.create_queue(redis_url, search=True)
    yield queue
    queue.shutdown(2)


def index_keys(client: redis.Redis) -> list[str]:
    return sorted(client.keys("q:search*"))  # type: ignore[arg-type]


def test_a_title_is_found_by_its_words_in_any_script(searching: kue.Queue) -> None:
    titles = ["Xin chào thế giới", "Hà Nội mùa thu", "welcome to the queue", "日本語の本", "видео урок", "Straße"]
    ids = {title: searching.create("t", {"title": title}).save().id for title in titles}
    for words, title in [
        ("chào", "Xin chào thế giới"), ("THẾ GIỚI", "Xin chào thế giới"), ("the gioi", "Xin chào thế giới"),
        ("ha noi", "Hà Nội mùa thu"), ("mùa", "Hà Nội mùa thu"), ("Welcomes", "welcome to the queue"),
        ("日本", "日本語の本"), ("本", "日本語の本"), ("Видео", "видео урок"), ("strasse", "Straße"),
    ]:  # fmt: skip
        assert searching.search(words) == [ids[title]], words
    assert searching.search("thè giới") == []  # written with marks, it is another word


def test_all_words_must_match_and_the_best_sum_comes_first(searching: kue.Queue) -> None:
    once, twice, other = (searching.create("t", {"x": text}).save().id for text in ("cat dog", "cat cat dog", "cat"))
    assert searching.search("cat") == [twice, other, once]
    assert searching.search("dogs cats") == [twice, once]
    assert searching.search("cat", limit=1) == [twice]
    assert searching.search("cat bird") == searching.search("") == searching.search("- !") == []


def test_only_the_named_fields_are_indexed(searching: kue.Queue) -> None:
    data = {"title": "welcome", "secret": "hunter", "nested": {"list": ["ngày"]}}
    job = searching.create("t", data).search_keys(["title", "nested.list[0]"]).save()
    assert searching.search("welcome") == searching.search("ngày") == [job.id]
    assert searching.search("hunter") == searching.search("title") == []


def test_search_keys_are_texts(searching: kue.Queue) -> None:
    with pytest.raises(kue.InvalidJob, match="names of fields"):
        searching.create("t", {}).search_keys([1])  # type: ignore[list-item]


def test_a_saved_change_is_found_and_the_old_words_are_not(searching: kue.Queue) -> None:
    job = searching.create("t", {"title": "apple mới"}).save()
    again = searching.get(job.id or 0)
    again.data["title"] = "banana cũ"
    again.save()
    assert searching.search("banana") == searching.search("cũ") == [job.id]
    assert searching.search("apple") == searching.search("mới") == []


def test_a_save_without_other_data_leaves_the_search_keys_of_its_producer(searching: kue.Queue) -> None:
    job = searching.create("t", {"title": "apple", "secret": "hunter"}, search_keys="title").save()
    searching.set_priority(job.id or 0, "high")
    assert searching.search("apple") == [job.id]
    assert searching.search("hunter") == []


@pytest.mark.parametrize("end", ["remove", "complete", "retain", "remove by Node without search"])
def test_the_entries_of_a_job_end_with_it(searching: kue.Queue, redis_client: redis.Redis, end: str) -> None:
    # Given a job in both indexes
    job = searching.create("t", {"title": "welcome giới\nlines"}, remove_on_complete=end == "complete").save()
    assert len(index_keys(redis_client)) > 6
    # When it is removed, in whatever way
    if end == "remove":
        job.remove()
    elif end == "complete":
        searching.process("t", lambda job: None)
    elif end == "retain":
        searching.process("t", lambda job: None)
        job.wait(5)
        searching.clean("complete", keep=0)
    else:
        redis_client.delete(f"q:job:{job.id}")
        assert searching.search("welcome") == []
    # Then nothing of it is left
    wait_until(lambda: index_keys(redis_client) == [])


def test_many_jobs_are_indexed_by_one_call(searching: kue.Queue, redis_client: redis.Redis) -> None:
    made = searching.create_many([{"type": "t", "data": {"n": f"word{n} chữ{n % 3}"}} for n in range(1500)])
    assert searching.search("word1234") == [made[1234].id]
    assert len(searching.search("chữ2")) == 500
    long = " ".join(f"w{n:05}" for n in range(3000))  # more than one call of a script can unpack
    job = searching.create("t", {"text": long}).save()
    assert searching.search("w00001 w02999") == [job.id]
    assert redis_client.zcard(f"q:search:object:{job.id}") > 2000


def test_what_is_not_shown_is_not_found(redis_url: str, redis_client: redis.Redis) -> None:
    # Given a queue with the app's own idea of what may be found
    queue = kue.create_queue(redis_url, search=safe_text)
    url = "https://user:hunter@example.com/zebra.zip?X-Amz-Signature=abcdef&part=giraffe"
    # When a job with a password and a signature in its url is saved, and saved again
    job = queue.create("t", {"url": url, "note": "mật khẩu"}).save()
    job.data["note"] = "khẩu"
    job.save()
    # Then it is found by the rest, and the index knows neither
    for words in ("zebra", "giraffe", "example.com", "khẩu"):
        assert queue.search(words) == [job.id], words
    for words in ("hunter", "user hunter", "abcdef", "mật"):
        assert queue.search(words) == [], words
    assert not redis_client.exists("q:search:word:HNTR", "q:search:word:ABKTF")
    assert queue.get(job.id or 0).data["url"] == url
    queue.close()


def test_without_search_nothing_is_indexed_but_what_is_there_is_found(
    searching: kue.Queue, queue: kue.Queue, redis_client: redis.Redis
) -> None:
    queue.create("t", {"title": "welcome"}).save()
    assert index_keys(redis_client) == []
    job = searching.create("t", {"title": "welcome"}).save()
    assert queue.search("welcome") == [job.id]
