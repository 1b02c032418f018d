# The page in a container, for people who host it themselves:
#
#   docker build -t page . && docker run -p 7860:7860 page
#
# The folder of `publish --what gradio --dry-run FOLDER` holds this file too; built there, the image is smaller,
# because it lacks TensorFlow. Options of app.py come after the image's name, for example --allow-host NAME.
#
# There was no Docker where this was written. Its steps were run one by one instead, with Python 3.11: the smaller
# requirements in a fresh environment, the copied folders read-only, the page, the health check.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 1000 page
WORKDIR /app
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY app.py LICENSE ./
COPY mobilevit_core mobilevit_core
COPY demo demo

USER page
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/bundle/page.json', timeout=4)"]
ENTRYPOINT ["python", "app.py"]
