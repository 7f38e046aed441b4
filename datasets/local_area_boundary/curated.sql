-- The city's local areas with their middle and boundary, for joining other summaries by name.
-- Reads `trusted`, the rows that passed the rules.
SELECT
    Name AS "Local Area", -- the area's name, as all datasets spell it
    GeoPoint2d AS "Middle", -- the middle of the area as latitude and longitude
    Geom AS "Boundary" -- the area as a GeoJSON polygon
FROM trusted
ORDER BY "Local Area"
