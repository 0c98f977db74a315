"""File names: one safe path component, whatever was requested."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kue.downloads.files.disposition import name_from_disposition
from kue.downloads.files.filenames import (
    MAX_NAME_BYTES,
    choose_name,
    final_name,
    numbered,
    safe_name,
    split_extension,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/etc/shadow", "shadow"),
        ("C:\\x\\y.txt", "y.txt"),
        ("C:evil.txt", "C_evil.txt"),
        ('a:b*c?d"e<f>g|h', "a_b_c_d_e_f_g_h"),
        (".bashrc", "bashrc"),
        ("...", ""),
        ("..", ""),
        (".", ""),
        ("", ""),
        ("   ", ""),
        ("/", ""),
        ("a/", "a"),
        ("a\0b.txt", "ab.txt"),
        ("a\r\nb.txt", "ab.txt"),
        ("a\x1b[31m.txt", "a[31m.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("a\u200bb\ufeff.txt", "ab.txt"),
        ("a\u2066b\u2069.txt", "ab.txt"),
        ("trailing. . .", "trailing"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("COM1", "_COM1"),
        ("lpt9.x", "_lpt9.x"),
        ("console.log", "console.log"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("日本語.zip", "日本語.zip"),
        ("a\ud800b", "a?b".replace("?", "_")),
        ("two  words.txt", "two words.txt"),
        ("~root", "~root"),
        ("-rf", "-rf"),
    ],
)
def test_a_name_is_reduced_to_one_harmless_component(text: str, name: str) -> None:
    assert safe_name(text) == name


@pytest.mark.parametrize(
    ("length", "extension"), [(300, ".tar.gz"), (300, ".bin"), (300, ""), (5000, ".jpeg"), (260, "." + "x" * 50)]
)
def test_a_long_name_keeps_its_extension(length: int, extension: str) -> None:
    name = safe_name("é" * length + extension)
    assert len(name.encode()) <= MAX_NAME_BYTES
    if len(extension) <= 20:
        assert name.endswith(extension)


@given(st.text(max_size=400))
def test_no_text_makes_a_name_that_is_not_one_component(text: str) -> None:
    name = safe_name(text)
    full = final_name(name or "download", 12, 0)
    assert "/" not in name and "\\" not in name and not name.startswith(".") and "\0" not in name
    assert len(os.fsencode(full)) <= 255
    assert os.path.basename(full) == full and full.isprintable()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename=report.pdf", "report.pdf"),
        ('inline; filename="a;b.txt"; x=y', "a;b.txt"),
        (r'attachment; filename="a\"b.txt"', 'a"b.txt'),
        (r'attachment; filename="C:\dir\file.txt"', r"C:\dir\file.txt"),
        ("attachment; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*=utf-8'en'%e2%82%ac.txt; filename=\"EUR.txt\"", "€.txt"),
        ("attachment; filename=\"EUR.txt\"; filename*=utf-8''%e2%82%ac.txt", "€.txt"),
        ("attachment; filename*=iso-8859-1''%A3.txt", "£.txt"),
        ("attachment; filename*=UTF-8''%FF%FE; filename=ok.txt", "ok.txt"),
        ("attachment; filename*=utf-7''x; filename=ok.txt", "ok.txt"),
        ("attachment; filename*=broken; filename=ok.txt", "ok.txt"),
        ('attachment; FileName="case.txt"', "case.txt"),
        ('attachment;filename="nospace.txt"', "nospace.txt"),
        ('attachment; filename = "spaces.txt"', "spaces.txt"),
        ('attachment; filename="=?UTF-8?B?w6QudHh0?="', "ä.txt"),
        ('attachment; filename="=?bad?X?!?="', "=?bad?X?!?="),
        (r'attachment; filename="a\"b\\c.txt"', r'a"b\c.txt'),
        (r'attachment; filename="C:\\dir\\file.txt"', r"C:\dir\file.txt"),
        ('attachment; filename="' + "voilà".encode().decode("latin-1") + '"', "voilà"),
        ("attachment; filename=" + "voilà".encode().decode("latin-1"), "voilà"),
        ('attachment; filename="' + "ü.txt".encode().decode("latin-1") + '"', "ü.txt"),
        ('attachment; filename="\xfc.txt"', "ü.txt"),
        ('filename="no-type.txt"', "no-type.txt"),
        ('attachment; filename="a.txt"; filename="b.txt"', "a.txt"),
        # Percent-encoded although not extended, as browsers take it
        ('attachment; filename="%EC%82%AC%EB%B3%B8.jpg"', "사본.jpg"),
        ("attachment; filename=%EC%82%AC%EB%B3%B8.jpg", "사본.jpg"),
        ('attachment; filename="100%.txt"', "100%.txt"),
        ('attachment; filename="50%25 off.txt"', "50% off.txt"),
        ('attachment; filename="%D6%D0.txt"', "%D6%D0.txt"),
        ("attachment; filename=UTF-8''x%20y.txt", "x y.txt"),
        # Encoded words of e-mail, whole and beside plain text
        ('attachment; filename="=?UTF-8?B?5pel5pys6Kqe?=.txt"', "日本語.txt"),
        ('attachment; filename="=?UTF-8?Q?a?=b.txt"', "ab.txt"),
        ('attachment; filename="=?UTF-8?Q?a_b?= =?UTF-8?Q?_c.txt?="', "a b c.txt"),
        ('attachment; filename="=?UTF-8?Q?=C3?= =?UTF-8?Q?=AF.txt?="', "ï.txt"),
        ('attachment; filename="=?UTF-8*en?Q?a.txt?="', "a.txt"),
        ('attachment; filename="=?Shift_JIS?B?k/qWe4zq?=.txt"', "日本語.txt"),
        ('attachment; filename="=?x-nothing?Q?a?=.txt"', "=?x-nothing?Q?a?=.txt"),
        # Quotes that nobody escaped, or twice
        ('attachment; filename="My "best" file.txt"', 'My "best" file.txt'),
        ('attachment; filename="a"b".txt"; size=1', 'a"b".txt'),
        ('attachment; filename="a.txt"x', "a.txt"),
        (r"attachment; filename=\"a.txt\"", "a.txt"),
        # What pages call Latin-1
        ("attachment; filename*=ISO-8859-1''%80.txt", "€.txt"),
        ("attachment; filename*=x-gbk''%D6%D0.txt", "中.txt"),
        ("attachment; filename*=windows-949''%C7%D1.txt", "한.txt"),
        ("attachment; filename*=ISO-2022-JP''%1B$B%46%7C%1B(B.txt", "日.txt"),
        # Charsets in any spelling
        ("attachment; filename*=utf8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*=UTF_8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*=GBK''%D6%D0.txt", "中.txt"),
        ("attachment; filename*=gb2312''%D6%D0.txt", "中.txt"),
        ("attachment; filename*=Big5''%A4%A4.txt", "中.txt"),
        ("attachment; filename*=Shift_JIS''%93%FA.txt", "日.txt"),
        ("attachment; filename*=EUC-KR''%B0%A1.txt", "가.txt"),
        ("attachment; filename*=windows-1252''%80.txt", "€.txt"),
        ("attachment; filename*=Windows-1251''%E4%E0.txt", "да.txt"),
        ("attachment; filename*=''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*=na%20me.txt", "na me.txt"),
        ("attachment; filename*=UTF-8'na%20me.txt", "na me.txt"),
        ("attachment; filename*=\"UTF-8''na%C3%AFve.txt\"", "naïve.txt"),
        ("attachment; filename*=UTF-16''%FF%FEa", None),
        # Faults
        ('attachment; filename="a.gz";', "a.gz"),
        ("attachment; filename=Survey, first part.txt", "Survey, first part.txt"),
        ('attachment, filename="x.txt"', "x.txt"),
        ('attachment filename="x.txt"', "x.txt"),
        ('attachment;;; filename="x.txt"', "x.txt"),
        ('attachment; filename="open.txt', "open.txt"),
        ('attachment; filename*0="lo"; filename*1="ng.txt"', "long.txt"),
        ("attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac.txt", "€.txt"),
        ('inline; title="filename=evil.txt"; filename=good.txt', "good.txt"),
        ('attachment; xfilename="no.txt"', None),
        ('attachment; filename="\x80uro.txt"', "€uro.txt"),
        ("attachment", None),
        ("attachment; filename=", None),
        ('attachment; filename=""', None),
        ("", None),
        (None, None),
        ("attachment; filename=" + "x" * 10000, None),
        ("attachment; name=x", None),
    ],
)
def test_content_disposition_is_read_as_the_rfcs_say(header: str | None, name: str | None) -> None:
    assert name_from_disposition(header) == name


@given(st.text(max_size=200))
def test_no_header_makes_the_reader_fail(header: str) -> None:
    name_from_disposition(header)
    safe_name(name_from_disposition(f'attachment; filename="{header}"') or "")


@pytest.mark.parametrize(
    ("asked", "header", "url", "kind", "name"),
    [
        ("mine.txt", "attachment; filename=theirs", "http://x/url.bin", None, "mine.txt"),
        (None, "attachment; filename=theirs", "http://x/url.bin", None, "theirs"),
        ("..", "attachment; filename=..", "http://x/url.bin", None, "url.bin"),
        (None, None, "http://x/a/b%20c.zip?x=y.exe", None, "b c.zip"),
        (None, None, "http://x/..%2f..%2fetc%2fpasswd", None, "passwd"),
        (None, None, "http://x/", None, "download"),
        (None, None, "http://x", None, "download"),
        (None, None, "http://x/%2e%2e", None, "download"),
        (None, None, "http://x/get", "application/zip", "get.zip"),
        (None, None, "http://x/get", "application/octet-stream", "get"),
        (None, None, "http://x/", "text/html; charset=utf-8", "download.html"),
        (None, None, "http://x/%ff%fe.bin", None, "%ff%fe.bin"),
        (None, None, "http://x/%D6%D0.txt", "text/plain; charset=GBK", "中.txt"),
        (None, None, "http://x/a.zip;jsessionid=AB12", None, "a.zip"),
        (None, None, "http://x/get?report.pdf", None, "report.pdf"),
        (None, None, "http://x/?report.pdf", "application/pdf", "report.pdf"),
        (None, None, "http://x/a%252Fb.txt", None, "a%2Fb.txt"),
        (None, "inline", "http://x/y.pdf", "application/pdf", "y.pdf"),
        (None, 'attachment; filename="tool"', "http://x/y", "application/x-tgz", "tool.tgz"),
        (None, 'attachment; filename="a.tar.gz"', "http://x/y", "application/gzip", "a.tar.gz"),
        *(
            (None, None, "http://x/file", kind, f"file{extension}")
            for kind, extension in {
                "application/gzip": ".gz",
                "Application/PDF; x=y": ".pdf",
                "image/webp": ".webp",
                "application/x-7z-compressed": ".7z",
                "application/x-zip-compressed": ".zip",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
                "application/vnd.android.package-archive": ".apk",
                "application/x-nothing": "",
            }.items()
        ),
        (None, 'attachment; filename="\xd6\xd0.txt"', "http://x/", "text/plain; charset=GBK", "中.txt"),
        (None, 'attachment; filename="%D6%D0.txt"', "http://x/", "text/plain; charset=GBK", "中.txt"),
        (None, None, "http://x/a.zip;type=i", None, "a.zip"),
        (None, None, "http://x/a;b.zip", None, "a;b.zip"),
        (None, None, "http://x/a.pdf.exe", "application/pdf", "a.pdf"),
        (None, "attachment; attachment; filename=b.txt", "http://x/", None, "b.txt"),
        # The query, where the path names no file
        (None, None, "http://x/model/4b5b.safetensors?attname=%E5%A2%A8.safetensors", None, "4b5b.safetensors"),
        (None, None, "http://x/download.php?file=report.pdf", "application/pdf", "report.pdf"),
        (None, None, "http://x/download.php?file=a/b/report.pdf", "application/pdf", "report.pdf"),
        (None, None, "http://x/download.php", "application/pdf", "download.pdf"),
        (None, None, "http://x/image.ashx?id=5", "image/png", "image.png"),
        (None, None, "http://x/download.php", "application/octet-stream", "download.php"),
        (None, None, "http://x/download.php?file=x.pdf", "text/html", "download.php"),
        (None, None, "http://x/get?id=7&name=%E5%A2%A8.zip", None, "墨.zip"),
        (None, None, "http://x/get?v=1.5", "application/zip", "get.zip"),
        (None, None, "http://x/get?u=http://y/z.zip", "application/zip", "get.zip"),
        (None, None, "http://x/get?token=abc.zip&file=..%2f..%2fx.zip", None, "x.zip"),
        (None, None, "http://x/get?token=abc.zip", None, "get"),
        (None, None, "http://x/k?response-content-disposition=inline%3Bfilename%3D%22%E4%B8%AD.zip%22", None, "中.zip"),
        (None, None, "http://x/k1?rscd=attachment;%20filename%3Db.zip&sig=c.zip", None, "b.zip"),
        (None, None, "http://x/file.zip/download", None, "file.zip"),
        (None, None, "http://x/file.zip/", None, "file.zip"),
        (None, None, "http://x/v1.2/download", "application/zip", "download.zip"),
        (None, None, "http://x/page.zip/other", None, "other"),
        (None, None, "http://x/wrong.zip", "application/pdf", "wrong.zip"),
    ],
)
def test_the_first_usable_name_is_taken(
    asked: str | None, header: str | None, url: str, kind: str | None, name: str
) -> None:
    assert choose_name(asked, header, url, kind) == name


def test_a_final_name_sorts_by_time_and_holds_the_id() -> None:
    assert re.fullmatch(r"20\d{12}-12-a\.bin", final_name("a.bin", 12, 1_700_000_000))
    assert final_name("a", "../x", 0).split("-")[1] == "___x"


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.txt", ".txt"), ("a.tar.gz", ".tar.gz"), ("a.b.c", ".c"), ("a", ""), ("a.tar.", ""), ("x.TAR.XZ", ".TAR.XZ")],
)
def test_an_extension_is_found(name: str, extension: str) -> None:
    assert split_extension(name)[1] == extension


def test_a_number_goes_before_the_extension() -> None:
    assert numbered("a.tar.gz", 2) == "a (2).tar.gz"


def test_the_date_of_a_name_is_utc() -> None:
    assert final_name("a", 1, 0) == "19700101000000-1-a"
