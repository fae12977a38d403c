FROM node:22-slim AS assets
WORKDIR /app
COPY . .
RUN npm install && npm run build

FROM dunglas/frankenphp:1-php8.4
RUN install-php-extensions bcmath intl opcache pcntl pdo_mysql pdo_pgsql redis zip
COPY --from=composer:2 /usr/bin/composer /usr/bin/composer
WORKDIR /app
COPY . .
RUN composer install --no-dev --no-interaction --optimize-autoloader
COPY --from=assets /app/public/build ./public/build
# A port without TLS: kstep's proxy is in front of it.
ENV SERVER_NAME=:8765 APP_ENV=production
EXPOSE 8765
