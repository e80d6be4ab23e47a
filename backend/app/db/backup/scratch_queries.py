"""What is a database's own, and not of what is in it: as statements that make the database `:new` like `:like`."""

from sqlalchemy import text

RIGHTS = text(
    """
    SELECT r.rolname AS role, r.rolsuper OR r.rolcreatedb AS creates, pg_has_role(d.datdba, 'USAGE') AS owns,
           pg_get_userbyid(d.datdba) AS owner
      FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = :like
    """
)

# By way of JSON, because the columns that hold the locale are not the same in every version.
CREATE = text(
    """
    SELECT concat(
               format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L',
                      CAST(:new AS text), pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype),
               CASE d ->> 'datlocprovider' WHEN 'c' THEN ' LOCALE_PROVIDER libc'
                                           WHEN 'i' THEN ' LOCALE_PROVIDER icu ICU_LOCALE '
                                           WHEN 'b' THEN ' LOCALE_PROVIDER builtin BUILTIN_LOCALE ' END,
               quote_literal(coalesce(d ->> 'datlocale', d ->> 'daticulocale')),
               ' ICU_RULES ' || quote_literal(d ->> 'daticurules'),
               CASE WHEN spcname <> 'pg_default' THEN ' TABLESPACE ' || quote_ident(spcname) END)
      FROM pg_database JOIN pg_tablespace t ON t.oid = dattablespace, to_jsonb(pg_database) AS d
     WHERE datname = :like
    """
)

PROPERTIES = text(
    """
    WITH source AS (SELECT *, CAST(:new AS text) AS new FROM pg_database WHERE datname = :like)
    SELECT statement FROM (
        SELECT 1, format('ALTER DATABASE %I CONNECTION LIMIT %s', new, datconnlimit) FROM source
         WHERE datconnlimit <> -1
        UNION ALL
        SELECT 2, format('COMMENT ON DATABASE %I IS %L', new, shobj_description(oid, 'pg_database')) FROM source
         WHERE shobj_description(oid, 'pg_database') IS NOT NULL
        UNION ALL
        SELECT 3, format('REVOKE ALL ON DATABASE %I FROM PUBLIC', new) FROM source WHERE datacl IS NOT NULL
        UNION ALL
        SELECT 4, format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, new,
                         CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                         CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
          FROM source, aclexplode(datacl)
        UNION ALL
        SELECT 5, concat(CASE setrole WHEN 0 THEN format('ALTER DATABASE %I', new)
                              ELSE format('ALTER ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), new) END,
                         format(' SET %I TO ', name),
                         -- Lists of names are stored as they are written.
                         CASE WHEN name NOT IN ('search_path', 'temp_tablespaces',
                                                'local_preload_libraries', 'session_preload_libraries')
                              THEN quote_literal(value) WHEN value = '""' THEN quote_literal('') ELSE value END)
          FROM source JOIN pg_db_role_setting ON setdatabase = oid, unnest(setconfig) AS setting,
               split_part(setting, '=', 1) AS name, substr(setting, strpos(setting, '=') + 1) AS value
    ) AS statements (step, statement)
     ORDER BY step
    """
)
