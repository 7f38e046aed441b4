-- How do the largest number of employees and the average fee develop from year to year?
-- chart: Most Employees, Average Fee Paid
SELECT
    FileYear AS "Licence Year",
    max(NumberofEmployees) AS "Most Employees",
    CAST(sum(FeePaid) / nullif(count(FeePaid), 0) AS DECIMAL(12, 2)) AS "Average Fee Paid",
    count(*) AS "Issued Licences",
    count(FeePaid) AS "With Fee"
FROM trusted
WHERE Status = 'Issued'
GROUP BY FileYear
ORDER BY "Licence Year"
