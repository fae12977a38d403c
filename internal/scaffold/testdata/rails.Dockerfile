FROM ruby:3.4-slim AS base
WORKDIR /rails
ENV RAILS_ENV=production RAILS_LOG_TO_STDOUT=1 BUNDLE_DEPLOYMENT=1 BUNDLE_PATH=/usr/local/bundle BUNDLE_WITHOUT=development:test
RUN apt-get update -qq && apt-get install --no-install-recommends -y libpq5 libmariadb3 libsqlite3-0 libvips42 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
RUN apt-get update -qq && apt-get install --no-install-recommends -y \
    build-essential git libmariadb-dev libpq-dev libsqlite3-dev libyaml-dev pkg-config
COPY Gemfile Gemfile.lock ./
RUN bundle install && rm -rf "$BUNDLE_PATH"/ruby/*/cache
COPY . .
# The key is for this step alone. Assets that Node.js builds need Node.js here.
RUN SECRET_KEY_BASE=build SECRET_KEY_BASE_DUMMY=1 bin/rails assets:precompile

FROM base
RUN useradd --create-home rails
COPY --from=build /usr/local/bundle /usr/local/bundle
COPY --from=build --chown=rails:rails /rails /rails
USER rails
EXPOSE 8765
CMD ["bin/rails", "server", "--binding", "0.0.0.0", "--port", "8765"]
