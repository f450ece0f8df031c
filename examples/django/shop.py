"""
Django in one file: LOGGING in the settings, and the fields of the request in each record.

    cd examples/django
    gunicorn shop:application            # or: python shop.py runserver, or: uvicorn shop:asgi_application
    curl -H 'X-Request-ID: r-17' localhost:8000/order/17
"""

import logging
import sys

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    DEBUG=False,
    SECRET_KEY="only an example",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["jsonlog.integrations.django.bind_request", "django.middleware.common.CommonMiddleware"],
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "jsonlog.integrations.django.RequestFormatter", "service": "shop"}},
        "handlers": {
            "json": {"class": "jsonlog.ProcessFileHandler", "directory": "logs", "formatter": "json"},
            "console": {"class": "jsonlog.ConsoleHandler", "formatter": "json"},
        },
        "root": {"level": "INFO", "handlers": ["json", "console"]},
        # Django gives these handlers of their own: what they log is in the files already.
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
        },
    },
)
log = logging.getLogger("shop")


def order(request, number):
    log.info("order %d looked at", number)
    if number == 0:
        raise LookupError("no order has the number 0")
    return JsonResponse({"order": number})


async def order_async(request, number):
    log.info("order %d looked at", number)
    return JsonResponse({"order": number})


urlpatterns = [path("order/<int:number>", order), path("async/<int:number>", order_async)]

django.setup()
application = get_wsgi_application()
asgi_application = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
