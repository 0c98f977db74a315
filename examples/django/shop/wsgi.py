"""Django, with the job monitor at /jobs."""

import os

from django.core.wsgi import get_wsgi_application

import kue.web

from .jobs import authorize, queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

application = kue.web.wsgi(queue, get_wsgi_application(), "/jobs", authorize=authorize, back=("Shop", "/"))
