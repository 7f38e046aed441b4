-- What 3-1-1 was asked about in each month, and how people asked.
-- Reads `trusted`, the rows that passed the rules. Nothing in it is about a person.
SELECT
    CAST(YearMonth || '-01' AS DATE) AS "Month",
    Department AS "Department",
    regexp_replace(InquiryType, '^ZZ OLD - ', '') AS "Inquiry Type",
    Channel AS "Channel",
    sum(NumberOfRecords) AS "Inquiries"
FROM trusted
GROUP BY ALL
ORDER BY "Month", "Department" NULLS LAST, "Inquiry Type" NULLS LAST, "Channel" NULLS LAST
