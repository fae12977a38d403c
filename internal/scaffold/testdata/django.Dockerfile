FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --create-home app
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir gunicorn
COPY . .
# Settings that need variables at this point get values that only the build sees.
RUN SECRET_KEY=build python manage.py collectstatic --noinput
USER app
EXPOSE 8765
CMD ["gunicorn", "--bind", "0.0.0.0:8765", "shop.wsgi"]
