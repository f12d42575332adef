# One image for server, worker and commands: see compose.yaml.
FROM python:3.12-slim-bookworm AS packages
COPY requirements/base.txt .
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r base.txt \
    && /venv/bin/pip uninstall --yes setuptools pip

FROM python:3.12-slim-bookworm
# pg_dump and pg_restore are for manage.py backup and restore; their version is that of the database's image.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client-15 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin frontdesk \
    && install -d -m 700 -o frontdesk /data /backups
COPY --from=packages /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DATA_DIR=/data
USER frontdesk
VOLUME ["/data", "/backups"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8000"]
