# Predicts bundles on a processor: OpenVINO, no torch. See docs/how-to/run-in-a-container.md.
# Build and run are also tested without Docker, step by step: benchmarks/runtime/measure.py.
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/decaseg \
    && /opt/decaseg/bin/pip install --no-cache-dir -c constraints.txt '.[runtime]' \
    && /opt/decaseg/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
COPY --from=build /opt/decaseg /opt/decaseg
# Nothing is written but --out: the bytecode is compiled already, and no library needs a home.
ENV PATH=/opt/decaseg/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
RUN groupadd --system --gid 10001 decaseg \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin decaseg
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["decaseg"]
CMD ["--help"]
