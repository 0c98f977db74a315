"""Cases from the field, as bytes on the wire, and other download programs to compare with."""

from .cases import Case
from .framing import FRAMING
from .redirects import REDIRECTS
from .responses import RESPONSES
from .resumes import RESUMES
from .urls import URLS

ALL: list[Case] = [*RESPONSES, *FRAMING, *REDIRECTS, *RESUMES, *URLS]
