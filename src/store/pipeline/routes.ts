/** Every change of a route is an event; a task's route is its latest. */
import type { Kysely, Selectable } from 'kysely'
import { type Route, type RouteState, route } from '../../contract/route.ts'
import type { PipelineSchema } from './schema.ts'

export class RouteRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  /** @param change.sourceKey what caused it, when it must not be done twice */
  async change(change: {
    task: string
    state: RouteState
    version: string | null
    reason: string
    sourceKey?: string
  }): Promise<void> {
    const { sourceKey, ...event } = change
    await this.#db
      .insertInto('route_events')
      .values({ ...event, source_key: sourceKey ?? null, at: Date.now() })
      .onConflict((conflict) => conflict.column('source_key').doNothing())
      .execute()
  }

  /** Newest first. */
  async history(task: string, limit: number): Promise<Route[]> {
    const rows = await this.#db
      .selectFrom('route_events')
      .selectAll()
      .where('task', '=', task)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map(toRoute)
  }

  /** The current route of every task that has one; a task without one is answered by the frontier. */
  async current(): Promise<Route[]> {
    const rows = await this.#db
      .selectFrom('route_events as event')
      .selectAll()
      .where('event.id', 'in', (inner) =>
        inner
          .selectFrom('route_events')
          .select((select) => select.fn.max('route_events.id').as('id'))
          .groupBy('route_events.task'),
      )
      .execute()
    return rows.map(toRoute)
  }
}

function toRoute(row: Selectable<PipelineSchema['route_events']>): Route {
  const { task, state, version, reason, at } = row
  return route.parse({ task, state, version, reason, changedAt: at })
}
