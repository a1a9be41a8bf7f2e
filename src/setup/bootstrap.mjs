/**
 * What the package's scripts start: makes the clone ready (packages, engine, model), then runs the given
 * program on the pinned Node. Everything is skipped that is already there.
 *
 *   node src/setup/bootstrap.mjs <entry.ts> [args…]
 *   node src/setup/bootstrap.mjs --dev <tool of node_modules> [args…]
 */

// Kept apart from the imports, which an older Node could not even parse.
const major = Number(process.versions.node.split('.')[0])
if (major < 20) {
  console.error(
    `Node.js ${process.versions.node} is too old. Install Node.js 20 or newer (https://nodejs.org), then run this again.`,
  )
  process.exit(1)
}

void import('./start.mjs').then(({ start }) => start(process.argv.slice(2)))
