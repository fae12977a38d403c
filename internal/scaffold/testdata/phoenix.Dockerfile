FROM elixir:1.18-slim AS build
RUN apt-get update -qq && apt-get install --no-install-recommends -y build-essential git
WORKDIR /src
ENV MIX_ENV=prod
RUN mix local.hex --force && mix local.rebar --force
COPY . .
RUN mix deps.get --only prod && mix deps.compile
RUN mix compile && mix assets.deploy
RUN mix release --path /app

# The same base: the release needs its C library.
FROM elixir:1.18-slim
ENV LANG=C.UTF-8 PHX_SERVER=true PORT=8765
WORKDIR /app
COPY --from=build --chown=nobody:root /app ./
USER nobody
EXPOSE 8765
CMD ["bin/shop", "start"]
