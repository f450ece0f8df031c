# One image for the demo application and for the shipper beside it:
#
#   docker build -t jsonlog-shipper .
#   docker run --rm jsonlog-shipper shipper --help
#
# An installation of its own behind a mirror gets its settings from outside; nothing of them stays in the image:
#
#   docker build --secret id=pip.conf,src=$HOME/.config/pip/pip.conf --secret id=ca.pem,src=ca.pem -t jsonlog-shipper .
#
# (pip.conf then says `cert = /run/secrets/ca.pem`.)
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The lock changes less often than the sources, so its layer comes first.
COPY requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    /opt/venv/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY jsonlog jsonlog
COPY shipper shipper
RUN /opt/venv/bin/python -m pip install --no-index --no-deps --no-build-isolation .

FROM ${BASE}
# The application creates its files as 0640 and the shipper deletes them, so both are the same user. The number is written out
# because an orchestrator's `runAsUser` and `fsGroup` have to name it.
RUN groupadd --gid 10001 logs && useradd --uid 10001 --gid logs --no-create-home --home-dir /nonexistent logs \
    && install -d -o logs -g logs -m 0750 /var/log/shop /var/lib/shipper
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/shipper
STOPSIGNAL SIGTERM
# No entry point: the command is the program, it is process 1, and it gets the signals.
CMD ["shipper", "run"]
