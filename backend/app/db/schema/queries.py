"""The questions put to PostgreSQL's catalogs: about the tables `:oids`, with answers sorted by `table`."""

from sqlalchemy import text

SERVER = text(
    """
    SELECT current_database() AS database, current_setting('server_version') AS version, current_user AS role,
           current_schemas(false)::text[] AS schemas
    """
)

RELATIONS = text(
    """
    SELECT c.oid, c.relname AS name, c.oid::regclass::text AS spelled,
           has_table_privilege(c.oid, 'SELECT') AS readable,
           c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't' AND NOT EXISTS (
               SELECT FROM pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
           ) AS listed
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND pg_table_is_visible(c.oid)
       AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    """
)
"""What an unqualified name means here; not `listed`: views, partitions, temporary tables, extensions' tables."""

COLUMNS = text(
    """
    SELECT a.attrelid AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           NOT a.attnotnull OR EXISTS (
               SELECT FROM pg_constraint n
                WHERE n.conrelid = a.attrelid AND a.attnum = ANY (n.conkey)
                  AND n.contype = 'n' AND NOT n.convalidated
           ) AS nullable,
           pg_get_expr(d.adbin, d.adrelid) AS default, a.attgenerated <> '' AS generated,
           l.collname AS collation,
           array_remove(ARRAY[
               CASE WHEN NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT') THEN 'SELECT' END,
               CASE WHEN NOT has_column_privilege(a.attrelid, a.attnum, 'INSERT') THEN 'INSERT' END,
               CASE WHEN NOT has_column_privilege(a.attrelid, a.attnum, 'UPDATE') THEN 'UPDATE' END,
               CASE WHEN NOT has_table_privilege(a.attrelid, 'DELETE') THEN 'DELETE' END
           ], NULL) AS withheld,
           quote_ident(a.attname) AS quoted, a.attrelid::regclass::text AS relation, s.oid::text AS sequence,
           has_sequence_privilege(s.oid, 'SELECT')
               AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS readable,
           a.attidentity <> '' OR has_sequence_privilege(s.oid, 'USAGE') AS usable
      FROM pg_attribute a
      JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_collation l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN LATERAL (
          SELECT CASE WHEN a.attidentity <> ''
                 THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)
                 ELSE (
                     SELECT r.oid::regclass::text FROM pg_depend p JOIN pg_class r ON r.oid = p.refobjid
                      WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                        AND p.refclassid = 'pg_class'::regclass AND r.relkind = 'S'
                      LIMIT 1
                 ) END::regclass AS oid
      ) s ON true
     WHERE a.attrelid = ANY (:oids) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attrelid, a.attnum
    """
)
"""A NOT NULL that was never validated (PostgreSQL 18) counts as NULL: rows may hold it."""

INDEXES = text(
    """
    SELECT i.indrelid AS table, c.relname AS name, m.amname AS method, i.indisunique AS unique,
           i.indisvalid AND i.indisready AND i.indislive AS valid,
           pg_get_expr(i.indpred, i.indrelid) AS where,
           NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_distinct,
           (
               SELECT jsonb_agg(jsonb_build_object(
                          'column', a.attname, 'expression', pg_get_indexdef(i.indexrelid, k + 1, false),
                          'options', concat_ws(' ',
                              CASE WHEN a.attcollation <> i.indcollation[k]
                                     OR a.attnum IS NULL
                                    AND strpos(pg_get_indexdef(i.indexrelid),
                                               pg_get_indexdef(i.indexrelid, k + 1, false) || ' COLLATE ') > 0
                                   THEN 'COLLATE ' || l.collname END,
                              CASE WHEN NOT o.opcdefault THEN o.opcname END,
                              CASE i.indoption[k] WHEN 1 THEN 'DESC NULLS LAST' WHEN 2 THEN 'NULLS FIRST'
                                                  WHEN 3 THEN 'DESC' END)
                      ) ORDER BY k)
                 FROM generate_series(0, i.indnkeyatts - 1) k
                 JOIN pg_opclass o ON o.oid = i.indclass[k]
                 LEFT JOIN pg_attribute a
                   ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND a.attnum > 0
                 LEFT JOIN pg_collation l ON l.oid = i.indcollation[k]
           ) AS keys,
           ARRAY(
               SELECT a.attname::text FROM generate_series(i.indnkeyatts, i.indnatts - 1) k
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
                ORDER BY k
           ) AS include
      FROM pg_index i
      JOIN pg_class c ON c.oid = i.indexrelid
      JOIN pg_am m ON m.oid = c.relam
     WHERE i.indrelid = ANY (:oids)
       AND NOT EXISTS (
           SELECT FROM pg_constraint n
            WHERE n.conrelid = i.indrelid AND n.conindid = i.indexrelid AND n.contype IN ('p', 'u', 'x')
       )
     ORDER BY i.indrelid, c.relname
    """
)
"""Those behind a constraint are told by the constraint. `indnullsnotdistinct` exists since PostgreSQL 15.

Of an expression the definition alone says whether the collation is another than the expression's own.
"""

CONSTRAINTS = text(
    """
    SELECT n.conrelid AS table, n.conname AS name, n.convalidated AS valid,
           CASE n.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint'
                          WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check'
                          ELSE 'exclusion constraint' END AS kind,
           CASE n.contype WHEN 'c' THEN pg_get_constraintdef(n.oid, true)
                          ELSE replace(pg_get_constraintdef(n.oid, true), '"', '') END AS definition,
           CASE n.contype WHEN 'c' THEN pg_get_expr(n.conbin, n.conrelid) END AS expression
      FROM pg_constraint n
     WHERE n.conrelid = ANY (:oids) AND n.contype IN ('p', 'u', 'f', 'c', 'x')
     ORDER BY n.conrelid, n.conname
    """
)

ODDITIES = text(
    """
    SELECT c.oid AS table, 'no table' AS what, c.relname::text AS object,
           CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view'
                          WHEN 'f' THEN 'a foreign table' ELSE 'a partitioned table' END AS definition
      FROM pg_class c WHERE c.oid = ANY (:oids) AND c.relkind <> 'r'
    UNION ALL
    SELECT c.oid, 'different persistence', c.relname,
           CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'TEMPORARY' END
      FROM pg_class c WHERE c.oid = ANY (:oids) AND c.relpersistence <> 'p'
    UNION ALL
    SELECT c.oid, 'row level security', c.relname,
           CASE WHEN c.relforcerowsecurity THEN 'FORCED' ELSE 'ENABLED' END
      FROM pg_class c WHERE c.oid = ANY (:oids) AND c.relrowsecurity
    UNION ALL
    SELECT t.tgrelid, CASE WHEN t.tgenabled IN ('O', 'A') THEN 'extra trigger' ELSE 'disabled trigger' END,
           t.tgname,
           pg_get_triggerdef(t.oid, true) || CASE t.tgenabled WHEN 'A' THEN ' (ENABLE ALWAYS)' ELSE '' END
      FROM pg_trigger t WHERE t.tgrelid = ANY (:oids) AND NOT t.tgisinternal
    UNION ALL
    SELECT DISTINCT t.tgrelid, 'constraint not enforced', n.conname,
           'triggers of ' || n.conrelid::regclass::text || ' disabled'
      FROM pg_trigger t JOIN pg_constraint n ON n.oid = t.tgconstraint
     WHERE t.tgrelid = ANY (:oids) AND t.tgisinternal AND t.tgenabled IN ('D', 'R')
    UNION ALL
    SELECT r.ev_class, 'extra rule', r.rulename, pg_get_ruledef(r.oid, true)
      FROM pg_rewrite r WHERE r.ev_class = ANY (:oids) AND r.rulename <> '_RETURN'
    ORDER BY 1, 2, 3
    """
)
"""What no model describes. A foreign key is enforced by internal triggers on both of its tables."""
