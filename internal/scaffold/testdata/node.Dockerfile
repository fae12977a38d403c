FROM node:22-slim AS build
WORKDIR /app
COPY package.json pnpm-lock.yaml ./
RUN corepack enable && pnpm install --frozen-lockfile
COPY . .
RUN corepack enable && CI=true pnpm prune --prod

FROM node:22-slim
WORKDIR /app
ENV NODE_ENV=production PORT=8765
COPY --from=build --chown=node:node /app ./
USER node
EXPOSE 8765
CMD ["node", "server.js"]
