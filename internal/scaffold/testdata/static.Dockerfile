FROM nginx:1.28-alpine
COPY . /usr/share/nginx/html
RUN sed -i 's/listen\( *\)80;/listen\18765;/' /etc/nginx/conf.d/default.conf
EXPOSE 8765
