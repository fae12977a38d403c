FROM golang:1.25 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /app ./cmd/shop

FROM alpine:3.22
RUN adduser -D app
COPY --from=build /app /app
USER app
ENV PORT=8765
EXPOSE 8765
ENTRYPOINT ["/app"]
