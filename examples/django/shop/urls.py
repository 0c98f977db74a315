"""The pages of the shop."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from .jobs import invoice


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


@require_POST
@login_required
def create(request: HttpRequest) -> HttpResponse:
    name = request.user.get_username()
    job = invoice.create(name).title(f"Invoice for {name}").save()
    return redirect(f"/jobs/job/{job.id}")


urlpatterns = [
    path("", home),
    path("invoices/", create),
    path("login/", LoginView.as_view(template_name="login.html")),
    path("logout/", LogoutView.as_view()),
]
